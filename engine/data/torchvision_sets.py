"""Data sets that torchvision knows by name, read by torchvision itself, into files that hold no code.

    python -m engine.data.torchvision_sets NAME ROOT OUT [--download]

    OUT/classes.json     names in index order; null where torchvision has none
    OUT/rows.parquet     split, row (from 1, within the split), label, path (below ROOT of a picture that is a file,
                         else null)
    OUT/SPLIT.parquet    image: the encoded pictures of the others, in the order of the rows

CIFAR's Python files are pickles: torchvision unpacks them once their MD5 is that of the published ones. Downloads only
when asked to. Each line on standard output is `DONE TOTAL`; a refusal is one line on standard error, exit status 2.
"""

import inspect
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from engine.contract.errors import UserError

_TRAIN = {"train": {"train": True}, "test": {"train": False}}
_SPLIT = {"train": {"split": "train"}, "test": {"split": "test"}}
_VAL = {"train": {"split": "train"}, "clean": {"split": "val"}, "test": {"split": "test"}}
_TRAIN_VAL = {"train": {"split": "train"}, "clean": {"split": "val"}}
_TRAINVAL = {"train": {"split": "trainval"}, "test": {"split": "test"}}
_WHOLE: dict[str, dict[str, object]] = {"train": {}}
SETS: dict[str, dict[str, dict[str, Any]]] = {
    "MNIST": _TRAIN, "FashionMNIST": _TRAIN, "KMNIST": _TRAIN, "USPS": _TRAIN, "CIFAR10": _TRAIN, "CIFAR100": _TRAIN,
    "QMNIST": {"train": {"what": "train"}, "test": {"what": "test"}},
    "EMNIST": {"train": {"split": "balanced", "train": True}, "test": {"split": "balanced", "train": False}},
    "SVHN": _SPLIT, "STL10": _SPLIT, "GTSRB": _SPLIT, "Food101": _SPLIT, "StanfordCars": _SPLIT, "FER2013": _SPLIT,
    "LFWPeople": _SPLIT, "DTD": _VAL, "Flowers102": _VAL, "FGVCAircraft": _VAL, "PCAM": _VAL, "RenderedSST2": _VAL,
    "Country211": {"train": {"split": "train"}, "clean": {"split": "valid"}, "test": {"split": "test"}},
    "Imagenette": _TRAIN_VAL, "ImageNet": _TRAIN_VAL,
    "Places365": {"train": {"split": "train-standard"}, "clean": {"split": "val"}},
    "OxfordIIITPet": _TRAINVAL, "EuroSAT": _WHOLE, "SUN397": _WHOLE, "Caltech101": _WHOLE, "Caltech256": _WHOLE,
    "SEMEION": _WHOLE,
}
"""Name -> split of ours -> what torchvision's class is told for it. Where the published set has none, train alone."""
_GROUP_ROWS = 1_000


class TorchvisionError(UserError):
    """torchvision has no such data set, or cannot read it here. One line."""


def write(name: str, root: Path, out: Path, is_downloading: bool) -> None:
    """Write the files above into the folder `out`. Raises TorchvisionError."""
    if name not in SETS:
        raise TorchvisionError(f"a data set of torchvision must be one of {', '.join(SETS)}; got {name!r}; import "
                               "others as folders")
    found = {split: _opened(name, root, options, is_downloading) for split, options in SETS[name].items()}
    classes = _classes(next(iter(found.values())))
    (out / "classes.json").write_text(json.dumps(classes))
    total, done, rows = sum(map(len, found.values())), 0, []
    for split, data in found.items():
        with _Pictures(out / f"{split}.parquet") as pictures:
            for row, (picture, code) in enumerate(_samples(data), 1):
                path = None if isinstance(picture, Image.Image) else _below(picture, root)
                if path is None:
                    pictures.add(picture)
                rows.append((split, row, _label(code, classes), path))
                done += 1
                if done % 1_000 == 0:
                    print(done, total, flush=True)
    names = ("split", "row", "label", "path")
    kinds = (pa.string(), pa.int64(), pa.string(), pa.string())
    pq.write_table(pa.table({key: pa.array([row[at] for row in rows], kind)
                             for at, (key, kind) in enumerate(zip(names, kinds, strict=True))}), out / "rows.parquet")


def _opened(name: str, root: Path, options: dict[str, Any], is_downloading: bool) -> Any:
    """torchvision's own data set of one split."""
    import torchvision.datasets as known  # here: it takes a second, and the table above is read without it

    kind = getattr(known, name, None)
    if kind is None:
        raise TorchvisionError(f"{name} must be known to this machine's torchvision; it is too old; update it")
    takes = inspect.signature(kind.__init__).parameters
    told = dict(options)
    if "loader" in takes or name == "ImageNet":  # which hands it on
        told["loader"] = str  # a picture that is a file stays one: where it lies is what is wanted
    if "download" in takes or name in ("EMNIST", "QMNIST"):
        told["download"] = is_downloading
    elif is_downloading:
        raise TorchvisionError(f"torchvision must be able to download what it is asked to; {name} it cannot; put its "
                               f"files into {root}")
    try:
        return kind(str(root), **told)
    except Exception as error:  # each of its classes has its own ways to say that files are missing or damaged
        said = " ".join(f"{type(error).__name__}: {error}".split()).replace("download=True", "--download")[:240]
        way = "see whether there is a network and room" if is_downloading else "put its files there, or ask for " \
            "--download"
        raise TorchvisionError(f"torchvision must find {name} in {root}; it says {said}; {way}") from error


def _below(path: str, root: Path) -> str:
    """The path below the root; where it leads out the path as it is, which an import refuses."""
    found, home = Path(path).resolve(), root.resolve()
    return found.relative_to(home).as_posix() if found.is_relative_to(home) else str(path)


def _samples(data: Any) -> Iterator[tuple[Any, Any]]:
    for place in range(len(data)):
        picture, code = data[place][:2]
        yield picture, code


def _classes(data: Any) -> list[str] | None:
    """The names of the classes by index, a repeated one with its index in brackets: ImageNet's crane is a bird and a
    machine."""
    found = getattr(data, "classes", None) or getattr(data, "categories", None)
    if found is None and isinstance(index := getattr(data, "class_to_idx", None), dict):
        found = sorted(index, key=index.__getitem__)
    if found is None:
        return None
    names = [", ".join(one) if isinstance(one, tuple) else str(one) for one in found]
    return [name if name not in names[:index] else f"{name} [{index}]" for index, name in enumerate(names)]


def _label(code: Any, classes: list[str] | None) -> str | None:
    """The name of a class's index, or the index; None of what has no class."""
    if code is None or int(code) < 0:
        return None
    return classes[int(code)] if classes is not None and int(code) < len(classes) else str(int(code))


class _Pictures:
    """Writes encoded pictures, a thousand of them in memory at once; no file where there are none."""

    def __init__(self, path: Path) -> None:
        self.path, self.kept = path, list[bytes]()
        self.writer: Any = None

    def __enter__(self) -> "_Pictures":
        return self

    def add(self, picture: Image.Image) -> None:
        sink = io.BytesIO()
        picture.save(sink, format="PNG")  # without loss; CMYK and the like torchvision has made RGB
        self.kept.append(sink.getvalue())
        if len(self.kept) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        table = pa.table({"image": pa.array(self.kept, pa.binary())})
        self.writer = self.writer or pq.ParquetWriter(self.path, table.schema, compression="none")
        self.writer.write_table(table)
        self.kept = []

    def __exit__(self, *_: object) -> None:
        if self.kept:
            self._flush()
        if self.writer is not None:
            self.writer.close()


def main(arguments: list[str]) -> int:
    """The command of this module's first lines."""
    name, root, out = arguments[:3]
    try:
        write(name, Path(root), Path(out), "--download" in arguments[3:])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
