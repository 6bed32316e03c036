"""Small pictures for tests of formats."""

from pathlib import Path

from PIL import Image


def picture(path: Path, value: int = 0) -> Path:
    """A picture file; the folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (value, 100, 7)).save(path)
    return path
