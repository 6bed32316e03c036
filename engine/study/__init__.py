"""Methods x seeds on one project: hands out runs and keeps their rows."""
