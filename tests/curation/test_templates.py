"""Templates escape what they are given and refuse what they are not."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from curation.templates import render


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "page.html.jinja"
    path.write_text("<p>{{ name }}</p>{{ markup | safe }}")
    return path


def test_values_are_escaped_unless_they_are_markup(template: Path) -> None:
    assert render(template, name="<i>'\"&", markup="<b>") == "<p>&lt;i&gt;&#39;&#34;&amp;</p><b>"


def test_a_name_without_a_value_is_an_error(template: Path) -> None:
    with pytest.raises(UndefinedError, match="'markup' is undefined"):
        render(template, name="a")
