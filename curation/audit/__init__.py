"""Label-noise audit: find wrong labels, prove how many there are, and say it so that it can be signed."""
