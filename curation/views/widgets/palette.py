"""Colours and what they mean: one place for roles, categories and numbers, safe for colour-blind eyes.

Knows no widget and no figure. Labels pass through as data; whoever draws them escapes them.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

ROLE_COLOURS = {"train": "#3B75AF", "validation": "#E07B00", "excluded": "#8C9299"}
"""Blue, orange and grey: told apart with any of the common colour blindnesses, and by lightness in print."""
PIN_COLOURS = {"validation": "#E07B00", "train": "#3B75AF"}
NO_VALUE_COLOUR = "#C3CAC8"
OTHER_COLOUR = "#9AA3A1"
CATEGORIES = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A6D00", "#5E4FA2", "#117733", "#882255",
    "#44AA99", "#DDAA33", "#332288", "#AA4499", "#999933", "#EE8866", "#6699CC", "#661100", "#77AADD",
)
"""Okabe and Ito's colours, then Tol's. Beyond eight nobody tells categories by colour alone: the legend counts them."""
MAX_CATEGORIES = 20
SCALE = ("#0D0887", "#41049D", "#6A00A8", "#8F0DA4", "#B12A90", "#CC4778", "#E16462", "#F2844B", "#FCA636")
"""Plasma without its last, too pale tenth: even to the eye, dark to bright, legible on white."""


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """How a signal is shown: its name in words, what its ends mean, and its fixed range if it has one."""

    title: str
    meaning: str
    low: float | None = None
    high: float | None = None
    is_low_bad: bool | None = None
    """None where neither end is bad."""


COLUMNS: dict[str, ColumnInfo] = {
    "role": ColumnInfo("Role", "where the run used the sample"),
    "current_label": ColumnInfo("Class (current label)", "given label, or what a person changed it to"),
    "given_label": ColumnInfo("Given label", "the label in the data"),
    "predicted_label": ColumnInfo("Predicted label", "what the classifier said last"),
    "suggested_label": ColumnInfo("Suggested label", "the other class that held-out predictions name"),
    "clean_label": ColumnInfo("Clean label", "known truth, for scoring alone"),
    "weight": ColumnInfo("Weight", "mean 1; low counts less in training", is_low_bad=None),
    "margin": ColumnInfo("Margin", "low is bad: below 0 the model prefers another class", -1.0, 1.0, True),
    "heldout_margin": ColumnInfo("Held-out margin", "low is bad; from epochs the sample was not trained on",
                                 -1.0, 1.0, True),
    "p_train": ColumnInfo("Splitter probability (p_train)", "low: the splitter wants it in validation", 0.0, 1.0, True),
    "label_quality": ColumnInfo("Label quality", "low is bad: the label is likely wrong", 0.0, 1.0, True),
    "loss": ColumnInfo("Loss", "high is bad", is_low_bad=False),
    "route_share": ColumnInfo("Share of epochs in validation", "high: routed again and again", 0.0, 1.0, False),
    "aum": ColumnInfo("Area under the margin", "low is bad", is_low_bad=True),
    "forgetting": ColumnInfo("Forgetting events", "high is bad: learned and lost again", is_low_bad=False),
    "heldout_epochs": ColumnInfo("Held-out epochs", "few: label quality rests on little", is_low_bad=None),
    "group": ColumnInfo("Group", "domain or subgroup"),
    "pin": ColumnInfo("Pin", "where a person holds the sample"),
    "excluded": ColumnInfo("Excluded", "left out by a person"),
    "in_validation": ColumnInfo("In the hard validation set", "what an export takes now, decisions included"),
}
_HIDDEN = {"sample_id", "path", "image", "split", "x", "y", "why", "signal_row", "is_resting", "relabel", "decided_by",
           "decided_at", "decided_why"}


def info_of(column: str) -> ColumnInfo:
    """How a column is shown; one of the user's own goes by its name."""
    return COLUMNS.get(column) or ColumnInfo(column, "a column of your data")


def colour_columns(frame: pd.DataFrame) -> list[str]:
    """Columns worth colouring by, ours first in COLUMNS' order, then the data's own; empty ones left out."""
    ours = [name for name in COLUMNS if name in frame]
    others = [str(name) for name in frame if name not in COLUMNS and name not in _HIDDEN]
    return [name for name in [*ours, *others] if frame[name].notna().any() and _is_plain(frame[name])]


def _is_plain(column: pd.Series) -> bool:
    """Numbers, flags or text; not lists, dicts or bytes."""
    if column.dtype != object:
        return not pd.api.types.is_datetime64_any_dtype(column)
    first = column[column.first_valid_index()]
    return isinstance(first, (str, int, float, bool))


def is_numeric(column: pd.Series) -> bool:
    """True for numbers; flags are categories."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


@dataclass(frozen=True, slots=True)
class Colouring:
    """A column turned into colours: categories (codes, names, colours) or numbers (values, low, high)."""

    column: str
    title: str
    codes: np.ndarray | None = None
    """(N,) int16 into names and colours."""
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

    @property
    def scale(self) -> tuple[str, ...]:
        return SCALE[::-1] if self.is_reversed else SCALE


def colouring(column: pd.Series) -> Colouring:
    """Colours of a whole column: numbers on a scale whose bright end is the bad one, else one colour a category."""
    info = info_of(str(column.name))
    title = f"{info.title}: {info.meaning}"
    if is_numeric(column):
        values = column.to_numpy(dtype=np.float32, na_value=np.nan)
        low, high = _range_of(values, info)
        return Colouring(column=str(column.name), title=title, values=values, low=low, high=high,
                         is_reversed=info.is_low_bad is True)
    codes, names, colours, counts = _categories(column)
    return Colouring(column=str(column.name), title=title, codes=codes, names=names, colours=colours, counts=counts)


def _range_of(values: np.ndarray, info: ColumnInfo) -> tuple[float, float]:
    """The fixed range, else the 1st to 99th percentile, so that one outlier does not flatten all the others."""
    finite = values[np.isfinite(values)]
    low, high = (np.percentile(finite, [1, 99]) if len(finite) else (0.0, 1.0))
    low, high = (float(low) if info.low is None else info.low), (float(high) if info.high is None else info.high)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _categories(column: pd.Series) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
    """Codes, names, colours and counts. Above 20 categories: the 19 most frequent, then the others as one."""
    text = column.astype("string")
    counts = text.value_counts()
    if column.name == "role":
        names = [name for name in ROLE_COLOURS if name in counts.index]
        colours = [ROLE_COLOURS[name] for name in names]
    else:
        # value_counts breaks ties by order of appearance; by name they stay put when the order of rows changes
        order = sorted(counts.index, key=lambda name: (-counts[name], name))
        names = order if len(order) <= MAX_CATEGORIES else order[:MAX_CATEGORIES - 1]
        names = sorted(names, key=_natural)
        colours = [(*CATEGORIES, OTHER_COLOUR)[i] for i in range(len(names))]
    codes = pd.Index(names, dtype="string").get_indexer(pd.Index(text)).astype(np.int16)
    shown = list(names)
    is_other = (codes < 0) & text.notna().to_numpy()
    for mask, name, colour in ((is_other, f"{len(counts) - len(names)} other", OTHER_COLOUR),
                               (text.isna().to_numpy(), "none", NO_VALUE_COLOUR)):
        if mask.any():
            codes[mask] = len(shown)
            shown.append(name)
            colours.append(colour)
    totals = np.bincount(codes, minlength=len(shown))
    return codes, tuple(map(str, shown)), tuple(colours), tuple(int(n) for n in totals)


def _natural(name: str) -> tuple[int, float, str]:
    """Sort key: numbers by value, before words by letter."""
    return (0, float(name), name) if name.isdecimal() and len(name) < 16 else (1, 0.0, name)


def rgb(colours: tuple[str, ...]) -> np.ndarray:
    """(n, 3) float32 in 0..255 of '#rrggbb' colours."""
    return np.array([[int(c[i:i + 2], 16) for i in (1, 3, 5)] for c in colours], dtype=np.float32)


def scale_rgb(values: np.ndarray, low: float, high: float, scale: tuple[str, ...]) -> np.ndarray:
    """(N, 3) float32 in 0..255: values on the scale from low to high; NaN takes NO_VALUE_COLOUR."""
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    stops = np.linspace(0, 1, len(scale))
    table = rgb(scale)
    out = np.stack([np.interp(np.nan_to_num(share), stops, table[:, i]) for i in range(3)], axis=1)
    out[np.isnan(share)] = rgb((NO_VALUE_COLOUR,))[0]
    return out.astype(np.float32)
