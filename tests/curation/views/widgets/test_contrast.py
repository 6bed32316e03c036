"""Our colours against both backgrounds, by the contrast of WCAG 2.2 (SC 1.4.3 for text, 1.4.11 for graphics)."""

import re
import tomllib

import pytest

from curation.studies.figures import COLORS, REFERENCE_COLOR
from curation.views.widgets import state
from curation.views.widgets.palette import (
    CATEGORIES,
    NO_VALUE_COLOUR,
    OTHER_COLOUR,
    ROLE_COLOURS,
    SCALES,
)
from tests import ROOT

TEXT, GRAPHIC = 4.5, 3.0
THEMES = ("light", "dark")
CSS = (state.ASSETS / "shared" / "app.css").read_text()
PAIRS = {name: dict(zip(THEMES, pair, strict=True)) for name, *pair in
         re.findall(r"--ws-([a-z-]+): light-dark\((#[0-9A-F]{6}), (#[0-9A-F]{6})\);", CSS)}
THEME = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]


def luminance(colour: str) -> float:
    """WCAG's relative luminance of '#rrggbb'."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
                        for part in (int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """(L1 + 0.05) / (L2 + 0.05) with L1 the lighter: 1 to 21."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_the_definition() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.478, abs=5e-4), "the grey known to miss 4.5 by a hair"


@pytest.mark.parametrize("theme", THEMES)
def test_our_names_are_the_theme(theme: str) -> None:
    assert PAIRS["paper"][theme] == THEME[theme]["backgroundColor"]
    assert PAIRS["panel"][theme] == THEME[theme]["secondaryBackgroundColor"]
    assert PAIRS["ink"][theme] == THEME[theme]["textColor"]
    assert PAIRS["line"][theme] == THEME[theme]["borderColor"]
    assert "base" not in THEME, "with a base the app would not follow the browser"


@pytest.mark.parametrize("theme", THEMES)
def test_text_is_legible(theme: str) -> None:
    grounds = [*(PAIRS[name][theme] for name in ("paper", "panel")), THEME[theme]["sidebar"]["backgroundColor"]]
    for name in ("ink", "body", "soft", "accent", "warning", "error"):
        for ground in grounds:
            assert contrast(PAIRS[name][theme], ground) >= TEXT, (name, ground)
    assert contrast(THEME[theme]["linkColor"], PAIRS["paper"][theme]) >= TEXT
    assert contrast("#FFFFFF", THEME[theme]["primaryColor"]) >= TEXT, "Streamlit writes white on it"
    for name, ground in (("on-accent", "accent"), ("soft", "accent-panel"), ("suggested", "suggested-panel"),
                         ("soft", "suggested-panel")):
        assert contrast(PAIRS[name][theme], PAIRS[ground][theme]) >= TEXT, (name, ground)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_and_marks_are_visible(theme: str) -> None:
    marks = [PAIRS["outline"][theme], PAIRS["accent"][theme], THEME[theme]["primaryColor"],
             *THEME[theme]["chartCategoricalColors"], *ROLE_COLOURS.values(), *CATEGORIES, OTHER_COLOUR,
             NO_VALUE_COLOUR, *SCALES[theme], *COLORS, REFERENCE_COLOR]
    for mark in marks:
        assert contrast(mark, PAIRS["paper"][theme]) >= GRAPHIC, mark


@pytest.mark.parametrize("theme", THEMES)
def test_scales_begin_at_the_page_and_only_rise(theme: str) -> None:
    """Streamlit takes ten colours of a scale, no more and no fewer; ours put the first, or both middle ones, on it."""
    few, fewer = (THEME[theme][f"chart{kind}Colors"] for kind in ("Sequential", "Diverging"))
    paper = PAIRS["paper"][theme]
    assert len(few) == len(fewer) == 10 and few[0] == fewer[4] == fewer[5] == paper
    for rising in (few, fewer[5:], fewer[4::-1]):
        steps = [contrast(colour, paper) for colour in rising]
        assert steps == sorted(steps) and steps[-1] >= GRAPHIC


def test_charts_take_their_colours_from_the_palette() -> None:
    """A colour written into a figure, or a figure drawn without the theme, is light in the dark."""
    for source in sorted((ROOT / "curation" / "views").rglob("*.py")):
        text = source.read_text()
        assert "theme=None" not in text, source
        assert source.name == "palette.py" or not re.search(r"[\"' ]#[0-9A-Fa-f]{6}\b", text), source


def test_style_sheets_use_the_names() -> None:
    """A colour of its own has a sheet only where it lies on pictures, whatever the theme: on badges."""
    for sheet in sorted(state.ASSETS.glob("*/*.css")):
        if sheet.name == "report.css":  # printed, so light
            continue
        rules = re.sub(r"light-dark\((?:[^()]|\([^()]*\))*\)", "", sheet.read_text())
        for line in rules.splitlines():
            assert line.startswith(".badge") or not re.search(r"#[0-9A-Fa-f]{3,8}\b|rgba?\(", line), (sheet.name, line)
