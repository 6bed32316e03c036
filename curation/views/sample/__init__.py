"""One sample up close."""
