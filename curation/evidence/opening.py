"""Opens a file of numbers by its ending."""

from pathlib import Path

from curation.evidence.array_file import ArrayFile, EvidenceError
from curation.evidence.numpy_file import open_npy, open_npz
from curation.evidence.table_file import open_csv, open_parquet


def open_array_file(path: Path, name: str) -> ArrayFile:
    """Open a file by its ending. name: what the array is called in an .npz of several.

    Raises EvidenceError for a file that is none of these, cannot be read, or has another shape than rows x numbers.
    """
    readers = {".npy": lambda: open_npy(path), ".npz": lambda: open_npz(path, name),
               ".parquet": lambda: open_parquet(path), ".csv": lambda: open_csv(path)}
    if path.suffix.lower() not in readers:
        raise EvidenceError(f"a file of {name} must end in {', '.join(readers)}; got {path.name!r}; save it as one")
    if not path.is_file():
        raise EvidenceError(f"a file of {name} must be there; {path} is none; check the path")
    found = readers[path.suffix.lower()]()
    if not found.num_rows or not found.num_columns:
        raise EvidenceError(f"a file of {name} must have rows of numbers; {path} has {found.num_rows:,} rows of "
                            f"{found.num_columns:,}; check what wrote it")
    return found
