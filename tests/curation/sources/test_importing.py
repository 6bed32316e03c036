"""import_project itself: checks, atomic writes, re-import beside decisions and runs, options as metadata, no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from curation.project import Project
from curation.sources.importing import SOURCES, import_project, source_options
from curation.sources.reading.images import check_images, chosen_check
from curation.tables.lines import decode, read_lines
from curation.tables.report import Problems, SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.fakes import make_run
from tests.picture_files import tree_bytes, write_image


def folder_of(root: Path, num: int = 3) -> Path:
    for name in ("cat", "dog"):
        for idx in range(num):
            write_image(root / name / f"{idx}.png", seed=idx)
    return root


def test_auto_decodes_up_to_its_limit_and_looks_at_nothing_above():
    assert [chosen_check("auto", num) for num in (0, 50_000, 50_001)] == ["decode", "decode", "none"]
    assert chosen_check("exists", 10**6) == "exists"


@pytest.mark.parametrize(("check", "expected"), [
    ("none", []), ("exists", ["cat/zero.png", "none.png"]), ("decode", ["cat/cut.png", "cat/zero.png", "none.png"])])
def test_each_check_finds_what_it_promises(tmp_path, check, expected):
    root = folder_of(tmp_path / "data")
    (root / "cat" / "cut.png").write_bytes((root / "cat" / "0.png").read_bytes()[:200])
    (root / "cat" / "zero.png").write_bytes(b"")
    paths = [*(f"{name}/{idx}.png" for name in ("cat", "dog") for idx in range(3)), "cat/cut.png", "cat/zero.png",
             "none.png"]
    (root / "t.csv").write_text("path,label\n" + "".join(f"{path},{path[0]}\n" for path in paths))
    result = import_project("table", tmp_path / "p", root=root / "t.csv", check=check)
    assert result.check == check and result.num_loaded == len(paths) - len(expected)
    report = Project.open(tmp_path / "p").import_report()
    assert sorted(report["file"][report["kind"] != "empty class"]) == expected
    assert any("when it is first decoded" in note for note in result.notes) == (check != "decode")


def test_exists_and_none_open_no_image(tmp_path, monkeypatch):
    root = folder_of(tmp_path / "data")
    monkeypatch.setattr("PIL.Image.open", lambda *a, **k: pytest.fail("an image was opened"))
    for check in ("none", "exists"):
        assert import_project("imagefolder", tmp_path / "p", root=root, check=check).num_loaded == 6


def test_many_images_in_threads_keep_their_order_and_their_findings(tmp_path, monkeypatch):
    monkeypatch.setattr("curation.sources.reading.images._BATCH", 7)
    num = 50
    for idx in range(num):
        write_image(tmp_path / f"{idx}.png", seed=idx)
    bad = [3, 6, 7, 20, 49]
    for idx in bad:
        (tmp_path / f"{idx}.png").write_bytes(b"")
    names = pa.array([f"{idx}.png" for idx in range(num)])
    rows = pa.table({"sample_id": names, "path": names, "file": pa.array(["f"] * num), "row": pa.array(range(num))})
    problems = Problems()
    steps: list[tuple[int, int, str]] = []
    kept = check_images(rows, tmp_path, "decode", problems, lambda *step: steps.append(step))
    assert kept["path"].to_pylist() == [f"{idx}.png" for idx in range(num) if idx not in bad]
    assert problems.table()["file"].to_pylist() == [f"{idx}.png" for idx in bad]
    assert [done for done, _, _ in steps] == [*range(7, 50, 7), 50]


def test_a_very_large_picture_is_reported_not_decoded(tmp_path, monkeypatch):
    root = folder_of(tmp_path / "data")
    write_image(root / "cat" / "large.png", size=64)
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 1000)
    import_project("imagefolder", tmp_path / "p", root=root)
    assert Project.open(tmp_path / "p").import_report()[["file", "kind"]].values.tolist() == [
        ["cat/large.png", "too large"]]


def test_importing_again_keeps_decisions_and_runs_and_tells_what_changed(tmp_path):
    root, project = folder_of(tmp_path / "data"), tmp_path / "p"
    for split in ("clean", "test"):
        folder_of(root / split)
    folder_of(root / "train")
    import_project("imagefolder", project, root=root, layout="split")
    created = json.loads((project / "project.json").read_text())["created"]
    ledger = Project.open(project).ledger()
    ledger.pin(["train/cat/0.png", "train/dog/1.png"], to="validation", who="ada")
    make_run(project, "first")
    kept = {name: raw for name, raw in tree_bytes(project).items() if name.startswith(("runs", "decisions"))}
    assert len(kept) > 5
    state = ledger.state()
    (root / "train" / "cat" / "0.png").unlink()
    write_image(root / "train" / "owl" / "new.png")
    result = import_project("imagefolder", project, root=root, layout="split")
    assert (result.num_added, result.num_removed, result.is_new) == (1, 1, False)
    assert any("1 decisions are about samples that are gone" in note for note in result.notes)
    assert any("classes changed (2 before, 3 now)" in note for note in result.notes)
    after = tree_bytes(project)
    assert {name: after[name] for name in kept} == kept
    pd.testing.assert_frame_equal(Project.open(project).ledger().state(), state)
    details = json.loads((project / "project.json").read_text())
    assert details["created"] == created <= details["imported"] and details["num_samples"] == 18


def test_an_import_that_fails_leaves_every_file_of_the_project_as_it_was(tmp_path):
    root, project = folder_of(tmp_path / "data"), tmp_path / "p"
    import_project("imagefolder", project, root=root)
    before = tree_bytes(project)
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("path,label\nnone.png,a\n")
    for source, where, options in (
            ("imagefolder", tmp_path / "empty", {}), ("imagefolder", tmp_path / "gone", {}), ("clothing1m", root, {}),
            ("table", tmp_path / "t.csv", {}), ("imagefolder", root, {"layout": "split"}),
            ("imagefolder", root, {"layout": "x"})):
        with pytest.raises(SourceError):
            import_project(source, project, root=where, **options)
        assert tree_bytes(project) == before


@pytest.mark.parametrize("fails_on", ["manifest.parquet", "project.json", "import_report.parquet"])
def test_a_disk_that_fails_while_writing_leaves_the_manifest_whole(tmp_path, monkeypatch, fails_on):
    root, project = folder_of(tmp_path / "data"), tmp_path / "p"
    import_project("imagefolder", project, root=root)
    manifest = (project / "manifest.parquet").read_bytes()
    write_image(root / "cat" / "more.png")
    rename = os.replace

    def failing(source, target):
        if Path(target).name == fails_on:
            raise OSError(28, "No space left on device", str(target))
        rename(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(SourceError, match="No space left on device; check rights and free space"):
        import_project("imagefolder", project, root=root)
    assert (project / "manifest.parquet").read_bytes() == manifest
    assert len(read_manifest(project)) == 6 and not list(project.glob(".*"))


def test_a_damaged_manifest_is_replaced_and_the_notes_say_so(tmp_path):
    root, project = folder_of(tmp_path / "data"), tmp_path / "p"
    import_project("imagefolder", project, root=root)
    (project / "manifest.parquet").write_bytes(b"PAR1 damaged")
    result = import_project("imagefolder", project, root=root)
    assert any("could not be read and is replaced" in note for note in result.notes)
    assert len(read_manifest(project)) == 6


def test_what_project_json_keeps_is_what_the_import_returned(tmp_path):
    root = folder_of(tmp_path / "data")
    (root / "cat" / "bad.png").write_bytes(b"")
    result = import_project("imagefolder", tmp_path / "p", root=root, layout="class")
    details = json.loads((tmp_path / "p" / "project.json").read_text())
    assert (details["name"], details["source"], details["options"]) == ("p", "imagefolder", {"layout": "class"})
    assert details["splits"] == result.splits == {"train": 6, "clean": 0, "test": 0}
    assert details["problem_kinds"] == result.problem_kinds == {"zero-byte file": 1}
    assert details["classes"] == result.classes.to_dict("records") and details["check"] == "decode"
    assert details["notes"] == result.notes and details["disagreement"] is None


def test_the_report_reads_back_with_its_contracts_columns_and_types(tmp_path):
    root = folder_of(tmp_path / "data")
    (root / "t.csv").write_text("path,label\ncat/0.png,a\ndog/0.png,b\ncat/0.png,a\nnone.png,b\n")
    import_project("table", tmp_path / "p", root=root / "t.csv")
    report = Project.open(tmp_path / "p").import_report()
    assert list(report.columns) == ["file", "row", "sample_id", "kind", "reason", "action"]
    assert str(report["row"].dtype) == "Int64" and report["row"].tolist() == [4, pd.NA]
    import_project("imagefolder", tmp_path / "p", root=root)
    (root / "t.csv").unlink()
    import_project("imagefolder", tmp_path / "p", root=root)
    empty = Project.open(tmp_path / "p").import_report()
    assert empty.empty and str(empty["row"].dtype) == "Int64" and list(empty.columns) == list(report.columns)


def test_every_option_that_a_source_takes_is_described_and_nothing_else(tmp_path):
    import inspect

    for name, source in SOURCES.items():
        parameters = inspect.signature(source.load).parameters
        taken = {p.name: p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert {option.name: option.default for option in source_options(name)} == taken
        assert list(parameters)[:4] == ["root", "project", "problems", "progress"]
        assert source.title and source.help and all(option.help for option in source.options)
    with pytest.raises(SourceError, match=r"must be one of demo, clothing1m, imagefolder, table, .*; got 'nope'"):
        source_options("nope")


@pytest.mark.parametrize(("call", "message"), [
    ({"source": "nope"}, "a source must be one of"), ({"source": "imagefolder"}, "needs ROOT"),
    ({"source": "imagefolder", "root": ""}, "needs ROOT"),
    ({"source": "demo", "check": "full"}, "check must be one of"),
    ({"source": "demo", "nose": 0.1}, "has no option nose; its options: seed, noise")])
def test_a_wrong_call_is_refused_in_one_line(tmp_path, call, message):
    with pytest.raises(SourceError, match=message) as error:
        import_project(**{"project_dir": tmp_path / "p", **call})
    assert "\n" not in str(error.value) and not (tmp_path / "p").exists()


def test_a_project_path_that_is_a_file_is_refused_and_stays(tmp_path):
    (tmp_path / "p").write_text("mine")
    with pytest.raises(SourceError, match="is a file; choose another project"):
        import_project("demo", tmp_path / "p")
    assert (tmp_path / "p").read_text() == "mine"


def test_lines_keep_their_numbers_across_blocks_and_refused_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("curation.tables.lines._BLOCK_BYTES", 256)
    rng = np.random.default_rng(0)
    expected, raw = {}, []
    for row in range(1, 401):
        kind = rng.integers(0, 8)
        if kind == 0:
            raw.append(b"  ")
        elif kind == 1:
            raw.append(b"a\x1fb")
        elif kind == 2:
            raw.append(b"\xff\xfe")
        else:
            expected[row] = f"key, {row} \u00e9\"'"
            raw.append(f"  {expected[row]}\t".encode())
    (tmp_path / "list.txt").write_bytes(b"\n".join(raw))
    problems = Problems()
    lines = read_lines(tmp_path / "list.txt", "list.txt", problems, lambda *step: None)
    assert dict(zip(lines["row"].to_pylist(), lines["text"].to_pylist(), strict=True)) == expected
    found = problems.table().to_pandas()
    for kind, value in (("malformed line", b"a\x1fb"), ("not UTF-8", b"\xff\xfe")):
        assert found["row"][found["kind"] == kind].tolist() == [idx + 1 for idx, v in enumerate(raw) if v == value]


def test_decoding_keeps_good_values_and_marks_bad_ones():
    text, is_bad = decode(pa.chunked_array([[b"a", None], [b"\xff", "\u00e9".encode()]], pa.binary()))
    assert text.to_pylist() == ["a", None, None, "\u00e9"] and is_bad.tolist() == [False, False, True, False]


def test_importing_needs_neither_torch_nor_streamlit(tmp_path):
    code = """
import sys
import curation.__main__
status = curation.__main__.main(["import", "demo", "--check", "none", "--project", sys.argv[1]])
heavy = {"torch", "torchvision", "streamlit", "plotly"} & set(sys.modules)
sys.exit(str(heavy) if heavy else status)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "p")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_info(tmp_path / "p").source == "demo"
