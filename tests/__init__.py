"""Tests, in the rooms of what they test; fakes and drivers that several rooms stand on lie here."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Of the repository."""
