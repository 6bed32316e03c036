"""Decisions and verdicts: append-only, in one database a project."""
