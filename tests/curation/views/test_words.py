"""Words that stand nowhere on a page, and numbers with what they count."""

import ast
import functools
import re
from pathlib import Path

import pytest

from curation.views.train.form import MAIN
from curation.words import counted, signed
from engine.contract.config import RunConfig
from engine.contract.settings import settings_of
from tests import ROOT, views
from tests.fakes import make_project

GONE = ("eff. sample", "if unguarded", "churn", "hysteresis", "2.14748e+09", "marked back in", "back in", "go first",
        "goes first", "how exact it shall", "classes more", "-0.0", "nobody", "whoever", "but for", "of late", "shall")
SHOWN = [*(ROOT / "curation" / "views").rglob("*.py"), *(ROOT / "curation" / "studies").glob("*.py")]
IS_NAME = re.compile(r"[\w.{}/-]*")
"""A key of a column, a widget or a setting, which people do not read."""


@functools.cache
def sentences(path: Path) -> list[tuple[int, str]]:
    """(line, text) of every string that is neither a docstring nor a name."""
    tree = ast.parse(path.read_text())
    notes = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [(node.lineno, node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)
            and isinstance(node.value, str) and node not in notes and not IS_NAME.fullmatch(node.value)]


@pytest.mark.parametrize("word", GONE)
def test_words_that_no_page_says(word: str):
    found = [f"{path.name}:{line}: {text}" for path in SHOWN for line, text in sentences(path)
             if re.search(rf"(?<!\w){re.escape(word)}(?!\d)", text.lower())]
    assert not found


def test_no_setting_says_them_either():
    said = [setting["help"].lower() for setting in settings_of(RunConfig)]
    assert not [text for text in said for word in GONE if re.search(rf"(?<!\w){re.escape(word)}", text)]


def test_a_number_goes_with_its_noun():
    assert [counted(num, "class", "classes") for num in (0, 1, 2000)] == ["0 classes", "1 class", "2,000 classes"]
    assert counted(1, "run") == "1 run" and counted(0, "run") == "0 runs"
    assert [signed(value) for value in (-0.04, 0.0, 0.04, -0.06)] == ["+0.0", "+0.0", "+0.0", "-0.1"]


def test_the_range_of_a_seed_is_no_help_to_people(home: Path):
    make_project(home / "pets")
    app = views.start(home, "train")
    helps = {field.key: field.help for field in app.number_input if str(field.key).startswith("new_run.")}
    assert "seed" in MAIN and "From" not in helps["new_run.seed"]
    assert "From 1 to 100,000." in helps["new_run.epochs"]
