"""Colours and what they mean: one place for roles, categories and numbers, safe for colour-blind eyes.

Knows no widget and no figure. Labels pass through as data: escape them where they are drawn.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from streamlit.elements.lib import streamlit_plotly_theme as in_theme

from curation.samples.codes import natural
from curation.samples.columns import Column
from curation.samples.frames import SampleTable
from curation.terms import define
from engine.contract import signal_columns

ROLE_COLOURS = {"train": "#3B75AF", "validation": "#DE7900", "excluded": "#8C9299"}
"""Blue, orange and grey: told apart with any of the common colour blindnesses, and by lightness in print."""
PIN_COLOURS = {name: ROLE_COLOURS[name] for name in ("validation", "train")}
NO_VALUE_COLOUR = "#8A9290"
OTHER_COLOUR = "#636D6B"
CATEGORIES = (
    "#0072B2", "#CB8500", "#009E73", "#CC79A7", "#D55E00", "#3B9CD0", "#8A6D00", "#6758AC", "#007800", "#A54B4B",
    "#C30078", "#9678FF", "#879600", "#A54BC3", "#3C4BFF", "#FF0F5A", "#871EFF", "#FF1EC3", "#C300FF",
)
"""Okabe and Ito's hues, then those farthest from all before; each of a lightness that stands out from the white and
from the dark page. Beyond eight, colour alone does not tell categories apart: the legend counts them."""
MAX_CATEGORIES = 20
_NUM_STEPS = 256
"""Colours from one end of a scale to the other."""
INK, PAPER, PANEL = in_theme.GRAY_90, in_theme.BG_COLOR, in_theme.BG_MIX
SERIES = (in_theme.CATEGORY_0, in_theme.CATEGORY_1, in_theme.CATEGORY_2, in_theme.CATEGORY_3)
SET_BACK = in_theme.CATEGORY_7
"""Colours of charts that are the theme's: in a chart drawn with theme="streamlit", the default, the browser puts the
current theme's text, background and chart colours (.streamlit/config.toml) in the place of these."""
FEW_TO_MANY = tuple(getattr(in_theme, f"SEQUENTIAL_{i}") for i in range(10))
FEWER_TO_MORE = tuple(getattr(in_theme, f"DIVERGING_{i}") for i in range(10))
"""Scales of theirs: from the background to strong; from blue over the background to orange."""
Theme = Literal["light", "dark"]
SCALES: dict[Theme, tuple[str, ...]] = {
    "light": ("#0D0887", "#360498", "#5902A3", "#7905A6", "#97149F", "#B02A90", "#C6417D", "#D9586A", "#E87159"),
    "dark": ("#B6308B", "#C9457A", "#DA5A69", "#E77059", "#F28849", "#FBA139", "#FCBD2C", "#F8DA24", "#F0F921"),
}
"""Plasma as far as it is legible on the page: even to the eye, dark to bright."""
FADED_COLOURS: dict[Theme, str] = {"light": "#C3CAC8", "dark": "#3C4845"}
"""Of what the filters leave out: there, and not to be read."""


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """How a signal is shown: its name in words, what its ends mean, and its fixed range if it has one."""

    title: str
    meaning: str
    low: float | None = None
    high: float | None = None
    is_low_bad: bool | None = None
    """None where neither end is bad."""


def _signal(name: str, title: str, meaning: str) -> ColumnInfo:
    """Of a column that engine.contract.signal_columns defines: its range where that is fixed, and its bad end."""
    column = signal_columns.COLUMNS[name]
    is_fixed = column.low is not None and column.high is not None
    return ColumnInfo(title, meaning, column.low if is_fixed else None, column.high if is_fixed else None,
                      None if column.bad_end is None else column.bad_end == "low")


_SIGNALS = {
    "role": ("Role", "where the run used the sample"),
    "role_reason": ("Reason of the role", "what put the sample where the run has it"),
    "predicted_label": ("Predicted label", "what the classifier said last"),
    "suggested_label": ("Suggested label", "the other class that held-out predictions name"),
    "weight": ("Weight", "mean 1; low counts less in training"),
    "margin": ("Margin", "low is bad: below 0 the model prefers another class"),
    "heldout_margin": ("Held-out margin", "low is bad; of predictions made while it was held out"),
    "p_train": ("Splitter probability (p_train)", "low: the splitter wants it in validation"),
    "p_train_unpinned": ("Splitter probability without the pin", "low: the splitter wants it in validation"),
    "label_quality": ("Label quality", "low is bad: the label is likely wrong"),
    "loss": ("Loss", "high is bad"),
    "route_share": ("Share of epochs in validation", "high: routed again and again"),
    "mean_margin": ("Mean margin", "low is bad; over the epochs it was trained on"),
    "forgetting": ("Forgetting events", "high is bad: learned and lost again"),
    "heldout_epochs": ("Held-out predictions", "few: label quality rests on little"),
}
_OTHERS = {
    "current_label": ColumnInfo("Class (current label)", "given label, or what a person changed it to"),
    "given_label": ColumnInfo("Given label", "the label in the data"),
    "clean_label": ColumnInfo("Clean label", "known truth, for scoring alone"),
    "group": ColumnInfo("Group", "domain or subgroup"),
    "num_answers": ColumnInfo("Answers", "people's answers that came with the data"),
    "answers_agree": ColumnInfo("Answers that agree", "share that are the given label; low: people disagree with it",
                                0.0, 1.0, is_low_bad=True),
    "is_tie": ColumnInfo("Tied answers", "two labels or more have the most answers"),
    "likeness": ColumnInfo("Likeness", "1: the same direction in the features as the chosen; 0: nothing in common"),
    "pin": ColumnInfo("Pin", "where a person holds the sample"),
    "excluded": ColumnInfo("Excluded", "left out by a person"),
    "in_validation": ColumnInfo("In the hard validation set", "what an export takes now, decisions included"),
}
_ORDER = ("role", "current_label", "given_label", "predicted_label", "suggested_label", "clean_label", "weight",
          "margin", "heldout_margin", "p_train", "label_quality", "loss", "route_share", "mean_margin", "forgetting",
          "heldout_epochs", "role_reason", "p_train_unpinned", "likeness", "group", "num_answers", "answers_agree",
          "is_tie", "pin", "excluded", "in_validation")
COLUMNS: dict[str, ColumnInfo] = {
    name: _OTHERS[name] if name in _OTHERS else _signal(name, *_SIGNALS[name]) for name in _ORDER}
_HIDDEN = {"sample_id", "path", "image", "split", "x", "y", "signal_row", "is_resting", "relabel", "decided_by",
           "decided_at", "decided_why"}


_TERMS: dict[str, tuple[str, ...]] = {
    "role": ("validation", "routed"), "role_reason": ("guard", "coverage"), "weight": ("weight",),
    "margin": ("margin",), "heldout_margin": ("margin", "held out"), "mean_margin": ("margin",),
    "label_quality": ("label quality", "held out"), "p_train": ("splitter",), "p_train_unpinned": ("splitter",),
    "route_share": ("routed",), "suggested_label": ("held out",), "heldout_epochs": ("held out",)}
"""What the glossary has to say of a column."""


def help_of(column: str) -> str:
    """What a column means, and its terms, for the "?" beside its heading."""
    meaning = info_of(column).meaning
    return define(*_TERMS.get(column, ()), after=f"{meaning[:1].upper()}{meaning[1:]}.")


def info_of(column: str) -> ColumnInfo:
    """How a column is shown; one of the user's own goes by its name."""
    return COLUMNS.get(column) or ColumnInfo(column, "a column of your data")


def colour_columns(table: SampleTable) -> list[str]:
    """Columns worth colouring by, ours first in COLUMNS' order, then the data's own; empty ones left out."""
    ours = [name for name in COLUMNS if name in table]
    others = [name for name in table if name not in COLUMNS and name not in _HIDDEN]
    return [name for name in [*ours, *others] if table[name].kind != "other" and table[name].has_values]


@dataclass(frozen=True, slots=True)
class Colouring:
    """A column turned into colours: categories (codes, names, colours) or numbers (values, low, high)."""

    column: str
    title: str
    codes: np.ndarray | None = None
    """(N,) int8 into names and colours."""
    names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    values: np.ndarray | None = None
    """(N,) float32; NaN has no value."""
    low: float = 0.0
    high: float = 1.0
    is_reversed: bool = False
    """True where the low end is the bad one: it then takes the bright end of the scale."""

    @property
    def is_numeric(self) -> bool:
        return self.values is not None

    def scale(self, theme: Theme) -> tuple[str, ...]:
        """Colours from low to high."""
        return SCALES[theme][::-1] if self.is_reversed else SCALES[theme]


def colouring(column: Column) -> Colouring:
    """Colours of a whole column: numbers on a scale whose bright end is the bad one, else one colour a category."""
    return column.kept("colouring", lambda: _colouring(column))


def _colouring(column: Column) -> Colouring:
    info = info_of(column.name)
    title = f"{info.title}: {info.meaning}"
    if column.kind == "number":
        values = column.numbers.astype(np.float32, copy=False)
        low, high = _range_of(values, info)
        return Colouring(column=column.name, title=title, values=values, low=low, high=high,
                         is_reversed=info.is_low_bad is True)
    codes, names, colours, counts = _categories(column)
    return Colouring(column=column.name, title=title, codes=codes, names=names, colours=colours, counts=counts)


def _range_of(values: np.ndarray, info: ColumnInfo) -> tuple[float, float]:
    """The fixed range, else the 1st to 99th percentile, so that one outlier does not flatten all the others."""
    low, high = 0.0, 1.0
    if info.low is None or info.high is None:
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, [1, 99]) if len(finite) else (low, high)
    low, high = (float(low) if info.low is None else info.low), (float(high) if info.high is None else info.high)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _categories(column: Column) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """Codes, names, colours and counts. Above 20 categories: the 19 most frequent, then the others as one."""
    of_column = column.codes
    *numbers, num_without = of_column.counts().tolist()
    counts = {str(name): num for name, num in zip(of_column.names, numbers, strict=True) if num}
    if column.name == "role":
        names = [name for name in ROLE_COLOURS if name in counts]
        colours = [ROLE_COLOURS[name] for name in names]
    else:
        # Ties go by name: so they stay put when the order of rows changes.
        order = sorted(counts, key=lambda name: (-counts[name], name))
        names = order if len(order) <= MAX_CATEGORIES else order[:MAX_CATEGORIES - 1]
        names = sorted(names, key=natural)
        colours = [(*CATEGORIES, OTHER_COLOUR)[i] for i in range(len(names))]
    shown, totals = list(names), [counts[name] for name in names]
    code_of = {name: code for code, name in enumerate(names)}
    num_other = sum(counts.values()) - sum(totals)
    codes = [code_of.get(str(name), len(shown)) for name in of_column.names]
    for num, name, colour in ((num_other, f"{len(counts) - len(names)} other", OTHER_COLOUR),
                              (num_without, "none", NO_VALUE_COLOUR)):
        if num:
            shown.append(name)
            totals.append(num)
            colours.append(colour)
    places = np.array([*codes, len(shown) - 1], dtype=np.int8)  # the last is of those without a value
    return places[of_column.codes], tuple(shown), tuple(colours), tuple(totals)


def rgb(colours: tuple[str, ...]) -> np.ndarray:
    """(n, 3) float32 in 0..255 of '#rrggbb' colours."""
    return np.array([[int(c[i:i + 2], 16) for i in (1, 3, 5)] for c in colours], dtype=np.float32)


def scale_rgb(values: np.ndarray, low: float, high: float, scale: tuple[str, ...]) -> np.ndarray:
    """(N, 3) float32 in 0..255: values on the scale from low to high; NaN takes NO_VALUE_COLOUR."""
    stops, steps, named = np.linspace(0, 1, len(scale)), np.linspace(0, 1, _NUM_STEPS), rgb(scale)
    colours = np.stack([np.interp(steps, stops, named[:, i]) for i in range(3)], axis=1)
    places = np.clip((values - low) * ((_NUM_STEPS - 1) / (high - low)), 0, _NUM_STEPS - 1)
    codes = np.rint(np.nan_to_num(places, nan=_NUM_STEPS)).astype(np.int16)
    return np.vstack([colours, rgb((NO_VALUE_COLOUR,))]).astype(np.float32)[codes]
