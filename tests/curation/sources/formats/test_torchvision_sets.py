"""Data sets by the name that torchvision has for them: read by torchvision itself, from tiny ones on disk."""

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from curation.__main__ import main
from curation.sources.formats import torchvision_sets
from curation.sources.importing import import_project
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from engine.data.torchvision_sets import SETS, TorchvisionError, write
from engine.data.torchvision_sets import main as engine_main
from tests.curation.sources.formats.pictures import picture
from tests.curation.sources.formats.test_torchvision_files import mnist


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The engine's part in this process: a second less, and what a test puts in the place of a digest holds."""
    def run(arguments: list[str], progress: object) -> None:
        if engine_main(arguments):
            raise SourceError(capsys.readouterr().err.strip())

    monkeypatch.setattr(torchvision_sets, "_read", run)


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def packed(**values: Any) -> bytes:
    """A dictionary of an array and lists, as CIFAR's files have it, put together by hand."""
    parts = []
    for key, value in values.items():
        items = value.dumps()[2:-1] if isinstance(value, np.ndarray) else b"](" + b"".join(
            b"K" + bytes([one]) if isinstance(one, int) else text(one) for one in value) + b"e"
        parts.append(text(key) + items)
    return b"\x80\x02}(" + b"".join(parts) + b"u."


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """CIFAR-10's Python version of one training file and the test file, two pictures each; pixels (4, 3, 32, 32)."""
    pixels = np.random.default_rng(0).integers(0, 255, (4, 3 * 32 * 32), dtype=np.uint8)
    folder = tmp_path / "d/cifar-10-batches-py"
    folder.mkdir(parents=True)
    files = {"data_batch_1": packed(data=pixels[:2], labels=[2, 0]),
             "test_batch": packed(data=pixels[2:], labels=[1, 1]),
             "batches.meta": packed(label_names=["plane", "car", "bird"])}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    digest = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", digest["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", digest["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names",
                                                   "md5": digest["batches.meta"]})
    return pixels.reshape(4, 3, 32, 32)


def test_cifar_by_name_once_torchvision_knows_its_files(cifar: np.ndarray, in_process: None, tmp_path: Path) -> None:
    (tmp_path / "human.csv").write_text("worse_label\n1\n0\n")
    import_project("torchvision", tmp_path / "p", root=tmp_path / "d", dataset="CIFAR10",
                   noisy_labels=str(tmp_path / "human.csv"))
    rows = read_manifest(tmp_path / "p")
    assert rows[["sample_id", "given_label", "clean_label", "split"]].astype(object).values.tolist() == [
        ["train/000000", "car", "bird", "train"], ["train/000001", "plane", "plane", "train"],
        ["test/000000", "car", "car", "test"], ["test/000001", "car", "car", "test"]]
    assert read_info(tmp_path / "p").classes == ("plane", "car", "bird")
    for path, pixels in zip(rows["path"], cifar, strict=True):
        with Image.open(tmp_path / "p/images" / path) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels.transpose(1, 2, 0))
    target = tmp_path / "d/cifar-10-batches-py/data_batch_1"
    target.write_bytes(target.read_bytes()[:-1] + b"0.")  # a pickle all the same, and not the published one
    with pytest.raises(SourceError, match="must find CIFAR10 in .*not found or corrupted.*--download") as caught:
        import_project("torchvision", tmp_path / "q", root=tmp_path / "d", dataset="CIFAR10")
    assert "\n" not in str(caught.value) and not (tmp_path / "q").exists()


def test_pictures_that_are_files_stay_where_they_are(in_process: None, tmp_path: Path) -> None:
    for label, name in (("Forest", "1.png"), ("Forest", "2.png"), ("River", "1.png")):
        picture(tmp_path / "d/eurosat/2750" / label / name)
    import_project("torchvision", tmp_path / "p", root=tmp_path / "d", dataset="EuroSAT")
    rows = read_manifest(tmp_path / "p")
    assert rows[["sample_id", "path", "given_label"]].values.tolist() == [
        [path, path, label] for path, label in (("eurosat/2750/Forest/1.png", "Forest"),
                                                ("eurosat/2750/Forest/2.png", "Forest"),
                                                ("eurosat/2750/River/1.png", "River"))]
    assert not (tmp_path / "p/images").exists() and Path(read_info(tmp_path / "p").root) == tmp_path / "d"


def test_from_the_command_line_in_a_process_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = mnist(tmp_path / "d/MNIST/raw")
    command = ["import", "torchvision", str(tmp_path / "d"), "--project", str(tmp_path / "p"), "--dataset"]
    assert main([*command, "MNIST"]) == 0
    rows = read_manifest(tmp_path / "p").set_index("sample_id")
    assert rows["given_label"].iloc[:3].tolist() == ["0 - zero", "1 - one", "2 - two"]
    assert rows["split"].value_counts().to_dict() == {"train": 6, "test": 6}
    with Image.open(tmp_path / "p/images" / rows.loc["train/000004", "path"]) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels[4])
    capsys.readouterr()
    assert main([*command, "CIFAR11"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: a data set of torchvision must be one of MNIST,")


def test_classes_of_one_name_stay_apart(cifar: np.ndarray, in_process: None, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """As ImageNet's crane, a bird and a machine. A root is where the command was given, not where the engine runs."""
    file = tmp_path / "d/cifar-10-batches-py/batches.meta"
    file.write_bytes(packed(label_names=["crane", "car", "crane"]))
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", hashlib.md5(file.read_bytes()).hexdigest())
    monkeypatch.chdir(tmp_path)
    told, run = list[str](), torchvision_sets._read
    monkeypatch.setattr(torchvision_sets, "_read", lambda given, show: told.extend(given) or run(given, show))
    import_project("torchvision", tmp_path / "p", root="d", dataset="CIFAR10")
    assert read_info(tmp_path / "p").classes == ("crane", "car", "crane [2]")
    assert read_manifest(tmp_path / "p")["given_label"].tolist() == ["crane [2]", "crane", "car", "car"]
    assert told[1] == str(tmp_path / "d")


def test_what_torchvision_cannot_do_is_one_line(in_process: None, tmp_path: Path) -> None:
    for options, match in (({"dataset": "CIFAR11"}, "one of MNIST, .*; got 'CIFAR11'; import others as folders"),
                           ({"dataset": "ImageNet", "download": "yes"}, "ImageNet it cannot; put its files into"),
                           ({"download": "yes"}, "a download is of a data set by its name"),
                           ({"dataset": "CIFAR10", "download": "maybe"}, "download must be one of no, yes")):
        with pytest.raises(SourceError, match=match):
            import_project("torchvision", tmp_path / "p", root=tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", list(SETS))
def test_each_set_takes_what_it_is_told(name: str, tmp_path: Path) -> None:
    """An empty root is what each complains of: not its options, nor the name of a split."""
    signature = inspect.signature(getattr(datasets, name).__init__)
    for options in SETS[name].values():
        signature.bind(None, str(tmp_path), **options)
    (tmp_path / "out").mkdir()
    with pytest.raises(TorchvisionError) as caught:
        write(name, tmp_path / "nothing", tmp_path / "out", is_downloading=False)
    assert "is no valid" not in (said := str(caught.value)) and "Unknown value" not in said and "TypeError" not in said


def test_a_stopped_import_leaves_no_files_of_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    monkeypatch.setattr(torchvision_sets.tempfile, "mkdtemp", lambda **_: made.mkdir() or str(made))

    def stopped(arguments: list[str], progress: object) -> None:
        (made / "rows.parquet").write_text(json.dumps(arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(torchvision_sets, "_read", stopped)
    with pytest.raises(KeyboardInterrupt):
        import_project("torchvision", tmp_path / "p", root=tmp_path, dataset="MNIST")
    assert not made.exists()
