"""MNIST's and CIFAR's files without pickles, beside torchvision's own reading."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.sources.importing import import_project
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest


def mnist(folder: Path, num: int = 6) -> np.ndarray:
    """Files as torchvision leaves them, images (N, 28, 28)."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (num, 28, 28), dtype=np.uint8)
    codes = (np.arange(num) % 3).astype(np.uint8)
    for start in ("train", "t10k"):
        (folder / f"{start}-images-idx3-ubyte").write_bytes(
            np.array([2051, num, 28, 28], ">i4").tobytes() + pixels.tobytes())
        (folder / f"{start}-labels-idx1-ubyte").write_bytes(np.array([2049, num], ">i4").tobytes() + codes.tobytes())
    return pixels


def cifar(folder: Path) -> np.ndarray:
    """CIFAR-10's binary version, two pictures a file: pixels (12, 3, 32, 32)."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 255, (12, 3, 32, 32), dtype=np.uint8)
    for idx, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        records = [bytes([place % 3]) + pixels[place].tobytes() for place in (2 * idx, 2 * idx + 1)]
        (folder / name).write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("airplane\nbird\ncat\n\n")
    return pixels


def test_mnist_as_torchvision_reads_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    pixels = mnist(tmp_path / "r/MNIST/raw")
    assert recognise(tmp_path / "r")[0].source == "torchvision"
    import_project("torchvision", tmp_path / "p", root=tmp_path / "r")
    rows = read_manifest(tmp_path / "p").set_index("sample_id")
    theirs = datasets.MNIST(str(tmp_path / "r"), train=True)
    for idx in range(len(pixels)):
        image, code = theirs[idx]
        sample = rows.loc[f"train/{idx:06d}"]
        assert sample["given_label"] == str(code)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "p/images" / sample["path"])), np.asarray(image))
    assert rows["split"].value_counts().to_dict() == {"train": 6, "test": 6}


def test_fashion_mnist_packed_has_its_names_and_a_torn_file_costs_its_rows(tmp_path: Path) -> None:
    mnist(tmp_path / "FashionMNIST/raw")
    for path in list((tmp_path / "FashionMNIST/raw").iterdir()):
        raw = path.read_bytes()[:-28 * 28 if path.name == "t10k-images-idx3-ubyte" else None]
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw))
        path.unlink()
    result = import_project("torchvision", tmp_path / "p", root=tmp_path)
    assert read_info(tmp_path / "p").classes[:2] == ("T-shirt/top", "Trouser")
    assert result.num_loaded == 11 and result.problem_kinds["missing picture"] == 1


def test_cifar_with_human_labels_of_a_table(tmp_path: Path) -> None:
    pixels = cifar(tmp_path / "d/cifar-10-batches-bin")
    (tmp_path / "human.csv").write_text("aggre_label,worse_label\n" + "".join(f"{n % 3},{(n + n // 9) % 3}\n"
                                                                               for n in range(10)))
    import_project("torchvision", tmp_path / "p", root=tmp_path / "d", noisy_labels=str(tmp_path / "human.csv"))
    rows = read_manifest(tmp_path / "p").set_index("sample_id")
    assert read_info(tmp_path / "p").classes == ("airplane", "bird", "cat")
    assert rows.loc["train/000009", ["given_label", "clean_label"]].tolist() == ["bird", "airplane"]
    assert (rows["given_label"] != rows["clean_label"]).sum() == 1
    found = np.asarray(Image.open(tmp_path / "p/images" / rows.loc["train/000009", "path"]))
    assert np.array_equal(found, pixels[9].transpose(1, 2, 0))
    (tmp_path / "human.csv").write_text("worse_label\n1\n")
    with pytest.raises(SourceError, match="one for each of the 10 training images"):
        import_project("torchvision", tmp_path / "q", root=tmp_path / "d", noisy_labels=str(tmp_path / "human.csv"))


def test_pickles_and_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(SourceError, match="is a pickle, which could run any program"):
        import_project("torchvision", tmp_path / "p", root=tmp_path)
    cifar(tmp_path / "d")
    (tmp_path / "d/data_batch_2.bin").write_bytes(b"\0" * 3074)
    with pytest.raises(SourceError, match="whole records of 3,073 bytes and has 3,074"):
        import_project("torchvision", tmp_path / "p", root=tmp_path / "d")
