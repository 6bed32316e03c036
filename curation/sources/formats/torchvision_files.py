"""Files that torchvision's MNIST family and CIFAR leave in their root, in the forms that hold no pickle.

    NAME/raw/train-images-idx3-ubyte[.gz], train-labels-..., t10k-...     MNIST, FashionMNIST, KMNIST, QMNIST's layout
    cifar-10-batches-bin/data_batch_1.bin .. test_batch.bin               CIFAR-10's binary version
    cifar-100-binary/train.bin, test.bin                                  CIFAR-100's

The Python versions of CIFAR are pickles, which can run any program when they are read: they are refused, unless the
data set is named, as torchvision then compares them with what was published (torchvision_sets). With noisy_labels, a
table of labels in the order of the training images (CIFAR-N: aggre_label, worse_label, ...), these become the given
labels and the data set's own the known truth. sample_id is the place in the published files.
"""

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.sources.formats.embedded import IMAGES, written
from curation.sources.formats.gathered import distinct
from curation.sources.formats.places import files_below, name_below
from curation.sources.formats.torchvision_sets import Named, named
from curation.sources.reading.annotators import Gathered, gather_votes
from curation.sources.reading.answer_columns import ANSWER, with_answers
from curation.sources.reading.classes import text_of
from curation.sources.reading.rows import Loaded, plain_rows
from curation.sources.reading.source import Option, Source
from curation.tables.frames import read_frame
from curation.tables.lines import read_lines
from curation.tables.report import Column, Problems, Progress, SourceError

_IDX = {"train-images-idx3-ubyte": ("train", "train-labels-idx1-ubyte"),
        "t10k-images-idx3-ubyte": ("test", "t10k-labels-idx1-ubyte")}
_CIFAR = {**{f"data_batch_{number}.bin": "train" for number in range(1, 6)}, "test_batch.bin": "test",
          "train.bin": "train", "test.bin": "test"}
_PICKLES = ("data_batch_1", "test_batch", "batches.meta")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_ENDINGS = ("-ubyte", "-ubyte.gz", ".bin")
_SIDE, _CHANNELS = 32, 3
_INSIDE = "the pictures lie inside the files: the import writes them into the project"
_MAX_LABELS = 20_000_000
"""Of one file; a packed one may announce what would fill all memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One file of pictures."""

    path: Path
    name: str
    split: str
    codes: np.ndarray
    """(N,) int64 class of each picture."""
    coarse: np.ndarray | None = None
    """(N,) int64 of CIFAR-100's twenty classes."""


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, noisy_labels: str | None = None,
         label_column: str | None = None, dataset: str | None = None, download: str = "no") -> Loaded:
    """Rows of every file below `root`, or of the data set that torchvision has by a name. Raises SourceError where
    there is none, or only pickles, or a damaged one."""
    if dataset is not None:
        return _named(named(dataset, root, download == "yes", progress), root, project, problems, progress,
                      noisy_labels, label_column)
    if download == "yes":
        raise SourceError("a download is of a data set by its name; got none; name it as dataset")
    home = root.resolve()
    files = _files(root)
    try:
        parts = _idx_parts(files, home) or _cifar_parts(files, home)
    except (OSError, EOFError, ValueError) as error:
        raise SourceError(f"files of MNIST and CIFAR must be whole; {' '.join(str(error).split())[:120]}; download "
                          "them again") from error
    if not parts:
        if any((folder / name).is_file() for name in _PICKLES for folder in (root, *root.glob("cifar-*-batches-py"))):
            raise SourceError("the Python version of CIFAR is a pickle, which could run any program and is not read as "
                              "it is; name it as dataset (CIFAR10), so that torchvision compares it with what was "
                              "published, or download the binary version (cifar-10-binary.tar.gz)")
        raise SourceError(f"files of MNIST end in -ubyte, of CIFAR's binary version in .bin; {root} has neither; check "
                          "the folder")
    classes = _classes(parts, home, problems, progress)
    columns: dict[str, Column] = {name: pa.array(one, pa.string()) for name, one in _columns(parts, classes).items()}
    notes = [f"{len(parts)} files of pictures; classes: {len(classes)} in their order", _INSIDE,
             *_with_noisy(noisy_labels, label_column, columns, classes, problems, progress)]
    file = pa.array([part.name for part in parts for _ in part.codes], pa.string()).dictionary_encode()
    plain = plain_rows(columns, file, np.concatenate([np.arange(1, len(part.codes) + 1) for part in parts]))
    answers = _gathered(plain, classes, problems)
    by_name, folder = {part.name: part for part in parts}, project / IMAGES
    return Loaded(rows=answers.rows, root=folder, classes=classes, classes_file=parts[0].name,
                  notes=[*notes, *answers.notes], answers=answers.answers,
                  unpack=lambda kept, found, show: written(
                      kept, folder, lambda name, wanted: _pictures(by_name[name], wanted), found, show))


def _named(found: Named, root: Path, project: Path, problems: Problems, progress: Progress, noisy_labels: str | None,
           label_column: str | None) -> Loaded:
    """Rows of what torchvision read: pictures below the root, or inside its files, then with ids of their place in
    them."""
    table, classes = found.rows, found.classes
    columns: dict[str, Column] = {"path": table["path"], "given_label": table["label"], "split": table["split"]}
    if not found.is_files:
        places = zip(table["split"].to_pylist(), table["row"].to_pylist(), strict=True)
        columns["sample_id"] = columns["path"] = pa.array([f"{split}/{row - 1:06d}" for split, row in places])
    else:
        columns["sample_id"] = columns["path"]
    notes = [f"classes: {len(classes)} as torchvision names them" if classes else "torchvision names no classes",
             *([] if found.is_files else [_INSIDE]),
             *_with_noisy(noisy_labels, label_column, columns, classes or (), problems, progress)]
    rows = plain_rows(columns, table["split"].combine_chunks().dictionary_encode(), np.asarray(table["row"]))
    answers = _gathered(rows, classes, problems)
    notes += answers.notes
    if found.is_files:
        return Loaded(rows=answers.rows, root=root, classes=classes, notes=notes, answers=answers.answers)
    folder = project / IMAGES
    return Loaded(rows=answers.rows, root=folder, classes=classes, notes=notes, answers=answers.answers,
                  unpack=lambda kept, lost, show: written(kept, folder, found.pictures, lost, show))


def _gathered(rows: pa.Table, classes: tuple[str, ...] | None, problems: Problems) -> Gathered:
    """The rows, with what each of several people said where the noisy labels hold that."""
    return gather_votes(rows, True, classes, problems) if ANSWER in rows.column_names else Gathered(rows=rows)


def _with_noisy(path: str | None, column: str | None, columns: dict[str, Column], classes: tuple[str, ...],
                problems: Problems, progress: Progress) -> list[str]:
    """Notes; given and clean labels in `columns` where a table of noisy ones is named."""
    if path is not None:
        columns |= _noisy(Path(path), column, columns, classes, problems, progress)
        return [f"given labels of training are from {Path(path).name}; the data set's are the known truth"]
    if column is not None:
        raise SourceError("label_column is of the table of noisy_labels; name that table too, or leave it out")
    return []


def _files(root: Path) -> dict[str, Path]:
    """Name without .gz -> file, of MNIST or CIFAR. Raises SourceError where they are of several data sets."""
    known = {*_CIFAR, *_IDX, *(labels for _, labels in _IDX.values())}
    found = {path: name for path in files_below(root, _ENDINGS, 3, most=None)
             if (name := path.name.lower().removesuffix(".gz")) in known}
    if len(folders := sorted({str(path.parent) for path in found})) > 1:
        raise SourceError(f"one data set is imported at a time; {root} has files of {len(folders)}: "
                          f"{', '.join(folders[:6])}; choose one of these folders")
    return {name: path for path, name in found.items()}


def _columns(parts: list[_Part], classes: tuple[str, ...]) -> dict[str, list[str | None]]:
    """path (until the picture is written), sample_id, given_label, split; superclass of CIFAR-100."""
    ids, labels, splits = list[str | None](), list[str | None](), list[str | None]()
    counts: dict[str, int] = {}
    for part in parts:
        first = counts.get(part.split, 0)
        counts[part.split] = first + len(part.codes)
        ids += [f"{part.split}/{number:06d}" for number in range(first, first + len(part.codes))]
        labels += [classes[code] if code < len(classes) else str(code) for code in part.codes.tolist()]
        splits += [part.split] * len(part.codes)
    found: dict[str, list[str | None]] = {"path": ids, "sample_id": ids, "given_label": labels, "split": splits}
    if all(part.coarse is not None for part in parts):
        found["superclass"] = [str(code) for part in parts for code in (part.coarse if part.coarse is not None else ())]
    return found


def _noisy(path: Path, column: str | None, columns: dict[str, Column], classes: tuple[str, ...], problems: Problems,
           progress: Progress) -> dict[str, Column]:
    """given_label and clean_label with the labels of a table, one for each training image in order; and ANSWER, where
    it has a column for each of several people."""
    frame = read_frame(path, problems, progress)
    have = frame.columns.column_names
    chosen = column or next((name for name in ("worse_label", "noisy_label", "label") if name in have), None)
    if chosen is None or chosen not in have:
        raise SourceError(f"a column of noisy labels must be in {path.name}; got {column!r}; it has {', '.join(have)}; "
                          "name it as label_column")
    is_train = [split == "train" for split in columns["split"].to_pylist()]
    if len(frame.rows) != sum(is_train):
        raise SourceError(f"noisy labels are one for each of the {sum(is_train):,} training images, in their order; "
                          f"{path.name} has {len(frame.rows):,} rows; check the file")
    numbers = {str(idx): name for idx, name in enumerate(classes)}
    labels = iter([numbers.get(text or "", text) for text in text_of(frame.columns[chosen]).to_pylist()])
    own = columns["given_label"].to_pylist()
    given = [next(labels) if one else label for one, label in zip(is_train, own, strict=True)]
    found: dict[str, Column] = {"given_label": pa.array(given, pa.string()), "clean_label": pa.array(own, pa.string())}
    table, ours, several = with_answers(frame.columns, {"given_label": chosen}, annotator="")
    if several is not None:
        votes = iter(table[ours[ANSWER]].to_pylist())
        found[ANSWER] = pa.array([next(votes) if one else None for one in is_train], pa.string())
    return found


# -- what the files hold


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")  # type: ignore[return-value]


def _idx_parts(files: dict[str, Path], home: Path) -> list[_Part]:
    parts = []
    for name, (split, labels) in _IDX.items():
        if name in files and labels in files:
            with _opened(files[labels]) as file:
                magic, num = np.frombuffer(file.read(8), ">i4").tolist()
                codes = np.frombuffer(file.read(max(0, min(num, _MAX_LABELS))), np.uint8).astype(np.int64)
            if magic != 2049 or len(codes) != num:
                raise ValueError(f"{labels} announces {num:,} labels and has {len(codes):,}")
            parts.append(_Part(path=files[name], name=name_below(files[name], home), split=split, codes=codes))
    return parts


def _cifar_parts(files: dict[str, Path], home: Path) -> list[_Part]:
    parts = []
    for name, split in _CIFAR.items():
        if name not in files:
            continue
        num_labels = 2 if name in ("train.bin", "test.bin") else 1
        size, record = files[name].stat().st_size, num_labels + _CHANNELS * _SIDE * _SIDE
        if not size or size % record:
            raise ValueError(f"{name} must be of whole records of {record:,} bytes and has {size:,}")
        data = np.memmap(files[name], np.uint8, "r").reshape(-1, record)
        parts.append(_Part(path=files[name], name=name_below(files[name], home), split=split,
                           codes=data[:, num_labels - 1].astype(np.int64),
                           coarse=data[:, 0].astype(np.int64) if num_labels == 2 else None))
    return parts


def _pictures(part: _Part, wanted: list[int]) -> Iterator[tuple[int, bytes | None]]:
    """The wanted pictures (counted from 1, rising) as PNG."""
    if part.path.suffix == ".bin":
        data = np.memmap(part.path, np.uint8, "r").reshape(len(part.codes), -1)
        for row in wanted:
            pixels = data[row - 1, -_CHANNELS * _SIDE * _SIDE:].reshape(_CHANNELS, _SIDE, _SIDE).transpose(1, 2, 0)
            yield row, _png(np.ascontiguousarray(pixels))
        return
    with _opened(part.path) as file:
        _, num, height, width = np.frombuffer(file.read(16), ">i4").tolist()
        if not (0 < height <= 4096 and 0 < width <= 4096):
            raise SourceError(f"{part.name} must announce its pictures' size; got {height} by {width}; download it "
                              "again")
        yield from _rows_of(file, set(wanted), num, height, width)


def _rows_of(file: BinaryIO, rows: set[int], num: int, height: int,
             width: int) -> Iterator[tuple[int, bytes | None]]:
    for row in range(1, max(rows, default=0) + 1):
        raw = file.read(height * width) if row <= num else b""
        if row in rows:
            is_whole = len(raw) == height * width
            yield row, _png(np.frombuffer(raw, np.uint8).reshape(height, width)) if is_whole else None


def _png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, format="PNG")
    return sink.getvalue()


def _classes(parts: list[_Part], home: Path, problems: Problems, progress: Progress) -> tuple[str, ...]:
    """Class names of the text file that CIFAR brings, FashionMNIST's own, else the numbers."""
    folder = parts[0].path.parent
    for name in ("batches.meta.txt", "fine_label_names.txt"):
        if (folder / name).is_file():
            return distinct(read_lines(folder / name, name, problems, progress)["text"].to_pylist())
    if "fashionmnist" in "".join(folder.parts).lower().replace("-", "").replace("_", ""):
        return _FASHION
    return tuple(str(code) for code in range(1 + max(int(part.codes.max(initial=1)) for part in parts)))


def is_here(place: Path) -> bool:
    """Whether a folder holds such files."""
    names = {path.name.lower().removesuffix(".gz") for path in files_below(place, _ENDINGS, 3) if place.is_dir()}
    return bool(names & set(_IDX)) or "data_batch_1.bin" in names or {"train.bin", "test.bin"} <= names


SOURCE = Source(
    title="MNIST and CIFAR files", load=load, recognises=is_here,
    help="What torchvision downloads of MNIST, FashionMNIST and KMNIST, and CIFAR's binary version; also CIFAR-N's "
         "labels. With dataset: any that torchvision knows by name, read by torchvision.",
    root_help="The root that torchvision was given, or the folder of the files.",
    options=(Option(name="dataset", is_in_form=False,
                    help="Name of the data set in torchvision, such as CIFAR10, Food101 or OxfordIIITPet."),
             Option(name="download", choices=("no", "yes"), default="no", is_in_form=False,
                    help="Let torchvision download it into ROOT."),
             Option(name="noisy_labels", help="Table of labels of the training images in their order, such as "
                                              "CIFAR-N's, written as CSV."),
             Option(name="label_column", help="Column of noisy_labels. Default: worse_label, noisy_label or label.")))
