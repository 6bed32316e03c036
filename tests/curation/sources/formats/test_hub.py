"""A data set by its name on the Hugging Face hub: the library's own builders read local files in place of the hub's."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from curation.__main__ import main
from curation.sources.importing import import_project
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.curation.sources.formats.test_huggingface import CLASSES, encoded, pixel, shard

datasets = pytest.importorskip("datasets")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data sets by name; what the library keeps of them lies in cache/."""
    real = datasets.load_dataset

    def load(name: str, config: str | None, **options: Any) -> object:
        options.pop("revision")
        return real(str(tmp_path / "hub" / name), config, cache_dir=str(tmp_path / "cache"), **options)

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", tmp_path / "cache")
    return tmp_path / "hub"


def test_a_name_of_the_hub_is_read_with_its_splits_classes_and_pictures(hub: Path, tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.png", "b.png", "c.png"]
    shard(hub / "zoo/pets/data/train-0.parquet", [0, 1, 2], [encoded(n) for n in (1, 2, 3)], names)
    shard(hub / "zoo/pets/data/validation-0.parquet", [1], [encoded(6)], ["a.png"])
    monkeypatch.chdir(tmp_path)
    assert main(["import", "huggingface", "zoo/pets", "--project", "p"]) == 0
    assert read_info(tmp_path / "p").classes == tuple(CLASSES)
    rows = read_manifest(tmp_path / "p").set_index("sample_id")
    assert rows["given_label"].to_dict() == {"train/a.png": "zebra", "train/b.png": "ant", "train/c.png": "cat",
                                             "clean/a.png": "ant"}
    assert [pixel(tmp_path / "p", one) for one in ("train/a.png", "train/c.png", "clean/a.png")] == [1, 3, 6]
    shutil.rmtree(tmp_path / "cache")
    assert pixel(tmp_path / "p", "train/b.png") == 2, "the project keeps its own pictures"
    (tmp_path / "zoo/pets").mkdir(parents=True)
    with pytest.raises(SourceError, match="a data set of Hugging Face is a folder"):
        import_project("huggingface", tmp_path / "q", root="zoo/pets")  # a folder that is here is meant


def test_a_library_that_may_run_what_a_data_set_brings_is_not_asked(hub: Path, tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    monkeypatch.setattr(datasets, "load_dataset", lambda *asked, **options: pytest.fail("it is asked"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="must be of version 4 or later, .*got 3.6.0; run `pip install -U datasets`"):
        import_project("huggingface", tmp_path / "p", root="zoo/pets")


def test_pictures_that_the_library_keeps_as_files_are_copied_and_no_others(hub: Path, tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        for value, name in ((3, "ant/x.png"), (4, "cat/x.png"), (5, "cat/y.png")):
            (tmp_path / "cache/zoo" / split / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "cache/zoo" / split / name).write_bytes(encoded(value))
    hub.mkdir()
    (hub / "zoo").symlink_to(tmp_path / "cache/zoo")
    import_project("huggingface", tmp_path / "p", root="zoo")
    rows = read_manifest(tmp_path / "p").set_index("sample_id")
    assert {"train/y.png", "test/y.png"} < set(rows.index) and not any(str(tmp_path) in one for one in rows.index)
    assert pixel(tmp_path / "p", "test/y.png") == 5 and len(rows) == 6
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "elsewhere")
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="6 missing picture"):  # whatever a row names, it lies outside
        import_project("huggingface", tmp_path / "q", root="zoo")


def test_a_split_of_an_unknown_name_is_said_and_a_single_one_is_training(hub: Path, tmp_path: Path) -> None:
    shard(hub / "odd/data/train-0.parquet", [0, 1], [encoded(1), encoded(2)])
    shard(hub / "odd/data/extra-0.parquet", [0], [encoded(3)])
    (hub / "odd/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train, path: data/train-0.parquet}\n  - {split: extra, path: data/extra-0.parquet}\n"
        "- config_name: small\n  data_files:\n  - {split: part, path: data/train-0.parquet}\n---\n")
    result = import_project("huggingface", tmp_path / "p", root="odd", config="default")
    assert result.num_loaded == 2 and result.problem_kinds["unknown split"] == 1
    assert import_project("huggingface", tmp_path / "q", root="odd", config="small").splits["train"] == 2
    with pytest.raises(SourceError, match="the hub gave nothing .*BuilderConfig 'none' not found") as caught:
        import_project("huggingface", tmp_path / "r", root="odd", config="none")
    assert "\n" not in str(caught.value) and not (tmp_path / "r").exists()
    with pytest.raises(SourceError, match="config and revision are of a name of the hub; .* is a place here"):
        import_project("huggingface", tmp_path / "r", root=hub / "odd", revision="main")


def test_without_network_library_or_pictures_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    import huggingface_hub

    with monkeypatch.context() as offline:
        for module in (datasets.config, huggingface_hub.constants):
            offline.setattr(module, "HF_HUB_OFFLINE", True)
        assert main(["import", "huggingface", "no-such/set", "--project", str(tmp_path / "p")]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("error: a data set must be a folder or a name of the hub; 'no-such/set' is no folder")
        assert "Couldn't reach 'no-such/set' on the Hub" in said
    with monkeypatch.context() as words:
        words.setattr(datasets, "load_dataset", lambda *_, **__: datasets.load_from_disk(str(tmp_path / "words")))
        datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(str(tmp_path / "words"))
        with pytest.raises(SourceError, match="a column of pictures; 'words' has text, label; choose another"):
            import_project("huggingface", tmp_path / "p", root="words")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match="the library `datasets` for a name of the hub.*pip install datasets"):
        import_project("huggingface", tmp_path / "p", root="no-such/set")
