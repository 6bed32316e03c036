"""The doctor finds what is broken, says it in a line each, and repairs what is safe."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from curation.__main__ import main
from curation.doctor.checks import examine
from curation.project import Project
from curation.views.routes.thumbnails import thumbnail
from engine.contract.disk.journal import JournalEntry, append_entry, rows_digest
from engine.contract.disk.seals import LENGTH
from engine.contract.pixels import VERSION
from engine.contract.work_dir import write_atomic
from tests.fake_features import make_features
from tests.fake_studies import make_study
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    path = make_project(tmp_path / "p", 24, 6, 6, size=8)
    opened = Project.open(path)
    opened.ledger().pin(["train-00001"], "validation", "ada")
    make_run(path)
    make_features(path)
    make_study(path)
    return opened


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_a_sound_project_has_nothing_broken(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(project.path)]) == 0
    chain, last = capsys.readouterr().out.splitlines()
    assert last == "nothing is broken"
    assert chain.startswith("sound: ledger ledger.sqlite: 1 entry as written; up to batch 1 the digest is ")


@pytest.mark.parametrize(("file", "kind"), [
    ("runs/first/signals.parquet", "run"), ("runs/first/history/0001.npy", "run"), ("runs/first/config.json", "run"),
    ("features/own/shards/00000.npy", "file"), ("features/own/samples.parquet", "file"),
    ("studies/methods/study.json", "study")])
def test_a_changed_byte_is_found_and_sources_are_left_alone(project: Project, file: str, kind: str,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    flip(project.path / file)
    damaged = (project.path / file).read_bytes()
    assert main(["doctor", str(project.path), "--repair"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"broken: {kind} ") for line in lines) and lines[-1].endswith("broken")
    assert (project.path / file).read_bytes() == damaged


def test_pages_of_the_ledger_that_contradict_each_other_are_found(project: Project) -> None:
    path = project.path / "ledger.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 * 2:4096 * 3] = b"\xff" * 4096
    path.write_bytes(content)
    assert [found.kind for found in examine(project)][0] == "ledger"


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_what_is_derived_is_made_anew(project: Project, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    sound = project.decisions_path.read_bytes()
    project.decisions_path.unlink() if damage == "gone" else flip(project.decisions_path)
    assert main(["doctor", str(project.path)]) == 2
    assert "broken: decisions decisions.parquet: " in capsys.readouterr().out
    assert main(["doctor", str(project.path), "--repair"]) == 0
    assert "(made anew from the ledger)" in capsys.readouterr().out
    assert project.decisions_path.read_bytes() == sound and main(["doctor", str(project.path)]) == 0


def test_what_the_dead_left_and_a_damaged_cache_are_removed(project: Project,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    left = project.path / "runs" / ".first.00000000-999999-1-0.partial"
    left.write_text("half")
    os.utime(left, (0, 0))
    cached = project.path / "cache" / "x" / "components.npy"
    write_atomic(cached, lambda p: p.write_bytes((project.path / "features/own/shards/00000.npy").read_bytes()))
    flip(cached)
    (project.path / "images" / "train" / "00003.png").unlink()
    assert main(["doctor", str(project.path), "--repair"]) == 0
    said = capsys.readouterr().out
    assert "note: left_over runs/.first.00000000-999999-1-0.partial" in said and not left.exists()
    assert "broken: cache cache/x/components.npy" in said and not cached.exists()
    assert "note: pictures train/00003.png: 1 of 36 pictures are missing" in said


def test_what_is_no_project_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_changed_byte_of_a_networks_features_is_found_and_computed_anew(
        project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_features(project.path, "net")
    shard = folder.shard_path(0)
    append_entry(folder.journal_path, JournalEntry(start=0, digest=rows_digest(np.load(shard)), bad={}))
    whole = shard.read_bytes()[:-LENGTH]
    write_atomic(shard, lambda path: path.write_bytes(whole), is_sealed=False)  # a network's shard has no seal
    assert main(["doctor", str(project.path)]) == 0
    flip(shard)
    capsys.readouterr()
    assert main(["doctor", str(project.path)]) == 2
    said = capsys.readouterr().out
    assert "broken: features net: features must be as they were computed; of 'net' those from row 0 on have" in said
    assert "(--repair computes anew what is damaged or outdated)" in said

    def compute(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        assert command[1:] == ["-m", "engine", "features", str(project.path), "--name", "net", "--no-run"]
        write_atomic(shard, lambda path: path.write_bytes(whole), is_sealed=False)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("curation.doctor.repair.subprocess.run", compute)
    assert main(["doctor", str(project.path), "--repair"]) == 0
    assert "(computed anew)" in capsys.readouterr().out
    assert main(["doctor", str(project.path)]) == 0


def test_features_of_pixels_that_are_decoded_otherwise_are_no_silent_ground(
        project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_features(project.path, "net")
    document = folder.read_document()
    similar = ["similar", str(project.path), "--features", "net", "--to", "train-00001", "--out"]
    for kind, pixels, is_outdated in (("backbone", VERSION, False), ("backbone", VERSION - 1, True),
                                      ("imported", VERSION - 1, False)):
        folder.write_document({**document, "kind": kind, "pixels": pixels})  # type: ignore[typeddict-item]
        assert main(["doctor", str(project.path)]) == 0
        said = capsys.readouterr().out
        assert ("note: features net: features must be of pictures as they are shown now" in said) == is_outdated
        assert ("which makes them anew (--repair computes anew" in said) == is_outdated
        for command in ([*similar, str(tmp_path / "near.csv")], ["leaks", str(project.path), "--features", "net"]):
            assert main(command) == 0
            assert capsys.readouterr().err.count("outdated: features must be of pictures as they are shown") == \
                is_outdated


def test_a_damaged_thumbnail_is_found_removed_and_made_anew(project: Project) -> None:
    whole, _ = thumbnail(project.path, "train-00001", 64)
    (kept,) = (project.path / "thumbnails").rglob("*.img")
    flip(kept)
    assert [finding.where for finding in examine(project) if finding.severity == "broken"] == \
        [kept.relative_to(project.path).as_posix()]
    assert main(["doctor", str(project.path), "--repair"]) == 0 and not kept.exists()
    assert thumbnail(project.path, "train-00001", 64)[0] == whole
