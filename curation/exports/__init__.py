"""Everything that leaves a project: one file a format."""
