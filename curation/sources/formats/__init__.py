"""What other tools write: one file a format, each with its SOURCE, which curation.sources.importing lists."""
