"""What decisions bought: runs with and without them, compared."""
