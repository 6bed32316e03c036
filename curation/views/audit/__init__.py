"""The Audit page, a section a module."""
