"""Data in: one file a format, each of which turns what it finds into the rows of a manifest."""
