"""Where a job runs: this machine or a cluster's queue."""
