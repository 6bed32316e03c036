"""A folder that may not be looked into is passed over; what lies beside it is recognised."""

from dataclasses import replace
from pathlib import Path

import pytest

from curation.sources.formats.places import files_below
from curation.sources.importing import SOURCES
from curation.sources.recognise import recognise


def test_a_format_that_may_not_look_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")

    def denied(place: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setitem(SOURCES, "torchvision", replace(SOURCES["torchvision"], recognises=denied))
    assert [found.source for found in recognise(tmp_path)] == ["imagefolder"]


def test_a_name_that_may_not_be_looked_at_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.json", "denied.json"):
        (tmp_path / name).write_text("{}")

    def stat(path: Path, **named: bool) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", stat)
    assert [path.name for path in files_below(tmp_path, (".json",))] == ["a.json", "denied.json"]
