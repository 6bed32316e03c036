"""What the version before the rooms left on disk opens in this one; make.py says what the archive holds."""
