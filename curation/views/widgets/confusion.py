"""Confusion matrices of two runs as data and as a heat map: what each predicts for each class, or how that changed.

Counts samples of the untouched splits that both runs predicted. Draws figures, knows no page.
"""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from curation.experiments.compare import scored_predictions
from curation.views.widgets.palette import FEWER_TO_MORE, PANEL, PAPER, SERIES
from engine.contract.run_dir import RunDir

MAX_CLASSES = 30
"""Beyond this a heat map is no longer read; the classes that changed most are shown."""


def confusion_counts(a: RunDir, b: RunDir, split: str, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(C, C) int64 of each run: rows the label, columns the prediction, over the samples that both predicted."""
    frames = [scored_predictions(run) for run in (a, b)]
    frames = [frame[frame["split"] == split] for frame in frames]
    common = set(frames[0]["sample_id"]) & set(frames[1]["sample_id"])
    counts = []
    for frame in frames:
        kept = frame[frame["sample_id"].isin(common)]
        label, prediction = (pd.Index(classes).get_indexer(pd.Index(kept[name].astype(object)))
                             for name in ("label", "prediction"))
        is_known = (label >= 0) & (prediction >= 0)
        flat = label[is_known] * len(classes) + prediction[is_known]
        counts.append(np.bincount(flat, minlength=len(classes) ** 2).reshape(len(classes), len(classes)))
    return counts[0], counts[1]


def shown_classes(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Positions of the classes to show, in their own order: all, or the MAX_CLASSES with the most change and error."""
    num = len(before)
    if num <= MAX_CLASSES:
        return np.arange(num)
    change = np.abs(after - before)
    errors = after - np.diag(np.diag(after))
    score = change.sum(0) + change.sum(1) + errors.sum(0) + errors.sum(1)
    return np.sort(np.argsort(-score, kind="stable")[:MAX_CLASSES])


def heat_map(counts: np.ndarray, classes: tuple[str, ...], is_difference: bool) -> go.Figure:
    """Rows: label; columns: prediction. Counts from the page to teal; a difference from blue (fewer) to orange."""
    names = [html.escape(name if len(name) <= 18 else name[:17] + "...") for name in classes]
    limit = max(1, int(np.abs(counts).max(initial=0)))
    scale = FEWER_TO_MORE if is_difference else (PAPER, SERIES[0])
    text = np.where(counts == 0, "", np.char.mod("%+d" if is_difference else "%d", counts))
    figure = go.Figure(go.Heatmap(
        z=counts, x=list(range(len(names))), y=list(range(len(names))), text=text,
        texttemplate="%{text}" if len(names) <= 15 else "", colorscale=scale, zmin=-limit if is_difference else 0,
        zmax=limit, xgap=1, ygap=1, customdata=[[[row, col] for col in names] for row in names],
        hovertemplate="label %{customdata[0]}<br>prediction %{customdata[1]}: %{z}<extra></extra>",
        colorbar={"title": {"text": "more or fewer samples" if is_difference else "samples", "side": "right"},
                  "thickness": 12, "outlinewidth": 0}))
    axis = {"tickvals": list(range(len(names))), "ticktext": names, "showgrid": False, "automargin": True}
    figure.update_layout(
        height=max(320, min(760, 130 + 26 * len(names))), margin={"l": 4, "r": 4, "t": 4, "b": 4},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor=PANEL, xaxis={**axis, "title": {"text": "prediction"}},
        yaxis={**axis, "title": {"text": "label"}, "autorange": "reversed"})
    return figure
