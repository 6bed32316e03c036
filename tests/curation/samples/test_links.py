"""Predicates as links: there and back, long ones kept in the project, and what is no link is refused in one line."""

import base64
import random
import zlib
from pathlib import Path

import pytest

from curation.project import Project
from curation.samples import links
from curation.samples.predicates import Predicate
from tests.fakes import make_project

LONG: Predicate = {"ids": [f"{random.Random(i).getrandbits(64):x}" for i in range(400)]}
SHORT: Predicate = {"classes": ["*cat*", "hund & katze"],
                    "columns": {"weight": {"min": 0.25}, "camera": [None, "left"]},
                    "region": {"lasso": [[[0.5, -1.25], [3, 4], [5.5, 6]]], "box": [], "map": "own"}, "run": "first"}


@pytest.fixture
def pets(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "pets", num_train=6))


@pytest.mark.parametrize("predicate", [SHORT, LONG])
def test_a_predicate_comes_back_from_a_link_that_needs_no_escapes(pets: Project, predicate: Predicate) -> None:
    text = links.pack(pets, predicate)
    assert text is not None and len(text) <= links.MAX_CHARS and set(text) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert links.unpack(pets, text) == predicate == links.unpack(Project.open(pets.path), text)
    assert (pets.path / "cache" / "selections").exists() == (predicate is LONG)


def test_the_newest_of_the_kept_stay_and_a_lost_one_is_said(pets: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_KEPT", 2)
    texts = [links.pack(pets, {"ids": [*LONG["ids"], str(i)]}) for i in range(4)]
    files = list((pets.path / "cache" / "selections").iterdir())
    assert len(files) == 2 and links.unpack(pets, str(texts[-1]))["ids"] == [*LONG["ids"], "3"]
    with pytest.raises(links.LinkError, match="no longer kept"):
        links.unpack(pets, str(texts[0]))


def packed(document: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(document)).decode().rstrip("=")


@pytest.mark.parametrize("text", ["x", "kept-../../project", "\u00e4", "AAAA", packed(b"[1]"), packed(b"no"),
                                  packed(b"[" * 100_000), packed(b'"' + b"a" * 3_000_000 + b'"')])
def test_what_is_no_link_is_refused_in_one_line(pets: Project, text: str) -> None:
    with pytest.raises(links.LinkError, match=r"^the selection of this link .{1,90}$"):
        links.unpack(pets, text)


def test_in_a_project_that_cannot_be_written_a_long_one_has_no_link(pets: Project) -> None:
    (pets.path / "cache").write_text("in the way")
    assert links.pack(pets, LONG) is None and links.pack(pets, SHORT)
