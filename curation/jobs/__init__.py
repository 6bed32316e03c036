"""Runs and studies in the background: requests, the queue, their processes."""
