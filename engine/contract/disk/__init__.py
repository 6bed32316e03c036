"""The disk under a project's files: what it refuses, in one line; names of files that are being written."""
