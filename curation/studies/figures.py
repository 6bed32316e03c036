"""Plotly figures of a study. Each takes a table of engine.contract.studies.study_summary or
engine.contract.studies.study_margins; computes no statistics.

Names of classes and groups are data: Plotly reads a little HTML in labels, so they are escaped.
"""

import html
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go  # slow to import, and most commands draw nothing

COLORS = ("#0F766E", "#D97706", "#6366F1", "#CC1E66", "#65A30D", "#0284C7", "#A8582F", "#A855F7", "#8A6D00", "#DC2626",
          "#0D9DB5", "#B45FC8")
REFERENCE_COLOR = "#64748B"
"""Of a lightness that stands out from the report's white page and from the app's dark one."""
HISTOGRAM_EDGES = np.linspace(-2.0, 2.0, 81)
"""A margin lies in [-1, 1], so its change in [-2, 2]."""


def arm_colors(arms: list[str], reference: str) -> dict[str, str]:
    """One colour an arm by its place among `arms`, the reference grey. Every figure takes those of all arms of a study,
    so that an arm keeps its colour in any selection."""
    return {**{arm: COLORS[i % len(COLORS)] for i, arm in enumerate(arms)}, reference: REFERENCE_COLOR}


def _figure(title: str, x: str, y: str, height: int = 380) -> "go.Figure":
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 15}}, height=height, template="plotly_white",
        margin={"l": 70, "r": 20, "t": 48, "b": 50}, xaxis_title=x, yaxis_title=y, legend={"orientation": "v"},
        font={"family": "system-ui, sans-serif", "size": 13})
    return figure


def differences_figure(table: pd.DataFrame, pairs: dict[str, list[tuple[int, float, float]]], reference: str,
                       figure: str, colors: dict[str, str]) -> "go.Figure":
    """Paired difference with its interval for each arm, and a dot for each seed.

    table: engine.contract.studies.study_summary.summary. pairs: arm -> (seed, reference's figure, arm's figure).
    """
    import plotly.graph_objects as go

    lines = table[(table["arm"] != reference) & table["difference"].notna()]
    drawn = _figure(f"{figure}: difference to {reference}, 95% t interval over seeds", "arm minus reference", "",
                    140 + 46 * len(lines))
    for line in lines.to_dict("records"):
        arm, mean, low, high = line["arm"], line["difference"], line["low"], line["high"]
        own = {"color": colors[arm], "size": 11}
        reach = {"type": "data", "symmetric": False, "array": [high - mean], "arrayminus": [mean - low],
                 "thickness": 2.5, "width": 7}
        drawn.add_trace(go.Scatter(
            x=[mean], y=[arm], mode="markers", marker={**own, "symbol": "diamond"}, showlegend=False,
            error_x=reach if np.isfinite(low) else None, hovertemplate="%{y}: %{x:.4f}<extra>mean</extra>"))
        drawn.add_trace(go.Scatter(
            x=[b - a for _, a, b in pairs[arm]], y=[arm] * len(pairs[arm]), mode="markers",
            marker={**own, "size": 6, "opacity": 0.45}, text=[f"seed {s}" for s, _, _ in pairs[arm]],
            showlegend=False, hovertemplate="%{y}, %{text}: %{x:.4f}<extra></extra>"))
    drawn.add_vline(x=0, line_color=REFERENCE_COLOR, line_dash="dot")
    drawn.update_yaxes(autorange="reversed", type="category")
    return drawn


def change_histogram(changes: dict[str, np.ndarray], reference: str, colors: dict[str, str]) -> "go.Figure":
    """Distribution over test samples of the change in margin; changes: arm -> (T,)."""
    import plotly.graph_objects as go

    drawn = _figure(f"Change of each test sample's margin against {reference}, mean over seeds", "change of margin",
                    "share of test samples")
    centres = (HISTOGRAM_EDGES[1:] + HISTOGRAM_EDGES[:-1]) / 2
    for arm, values in changes.items():
        counts = np.histogram(values, bins=HISTOGRAM_EDGES)[0] / len(values)
        drawn.add_trace(go.Scatter(x=centres.tolist(), y=counts.tolist(), name=arm, mode="lines", line={
            "shape": "hvh", "color": colors[arm], "width": 2}))
    drawn.add_vline(x=0, line_color=REFERENCE_COLOR, line_dash="dot")
    return drawn


def margin_bins_figure(bins: pd.DataFrame, reference: str, colors: dict[str, str]) -> "go.Figure":
    """Mean change of margin by bin of the reference's margin; bins:
    engine.contract.studies.study_margins.margin_bins."""
    import plotly.graph_objects as go

    drawn = _figure(f"Change of margin by the margin under {reference}, 95% t interval over seeds",
                    f"margin under {reference} (low is hard)", "mean change of margin")
    for i, (arm, part) in enumerate(bins.groupby("arm", sort=False)):
        centre = (part["bin_low"] + part["bin_high"]) / 2 + 0.012 * i
        known = part["low"].notna().all()
        reach = {"type": "data", "symmetric": False, "array": (part["high"] - part["mean"]).tolist(),
                 "arrayminus": (part["mean"] - part["low"]).tolist()} if known else None
        drawn.add_trace(go.Scatter(
            x=centre.tolist(), y=part["mean"].tolist(), error_y=reach, name=str(arm), mode="lines+markers",
            marker={"color": colors[str(arm)]}, text=[f"{n:.0f} samples" for n in part["num_samples"]],
            hovertemplate="%{y:.4f}, %{text}"))
    drawn.add_hline(y=0, line_color=REFERENCE_COLOR, line_dash="dot")
    return drawn


def splitter_figure(curves: pd.DataFrame, colors: dict[str, str]) -> "go.Figure":
    """Above: held-out loss of the routed (line) and of a random sample (dashed); below: churn. By epoch, mean of seeds.

    curves: engine.contract.studies.study_summary.curve_table.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    drawn = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    shown: set[str] = set()
    for figure, row, dash in (("validation_loss", 1, "solid"), ("rest_loss", 1, "dash"), ("churn", 2, "solid")):
        for arm, part in curves[curves["figure"] == figure].groupby("arm", sort=False):
            drawn.add_trace(go.Scatter(
                x=part["epoch"].tolist(), y=part["mean"].tolist(), name=str(arm), legendgroup=str(arm),
                showlegend=arm not in shown, mode="lines+markers",
                line={"color": colors[str(arm)], "dash": dash}, hovertemplate=f"{figure} %{{y:.4f}}"), row=row, col=1)
            shown.add(str(arm))
    drawn.update_layout(
        title={"text": "The splitter: held-out loss of the routed (line) and of samples kept out by chance (dashed)",
               "font": {"size": 15}}, height=520, template="plotly_white", margin={"l": 70, "r": 20, "t": 48, "b": 50},
        font={"family": "system-ui, sans-serif", "size": 13})
    drawn.update_yaxes(title_text="held-out loss", row=1, col=1)
    drawn.update_yaxes(title_text="new since last epoch", row=2, col=1)
    drawn.update_xaxes(title_text="epoch", row=2, col=1)
    return drawn


def groups_figure(table: pd.DataFrame, kind: str, colors: dict[str, str]) -> "go.Figure":
    """Test accuracy by class or group, a bar an arm; table: engine.contract.studies.study_summary.group_table."""
    import plotly.graph_objects as go

    drawn = _figure(f"Test accuracy by {kind}, mean over seeds", kind, "test accuracy")
    part = table[table["kind"] == kind]
    for arm, own in part.groupby("arm", sort=False):
        drawn.add_trace(go.Bar(x=[html.escape(str(name)) for name in own["name"]], y=own["mean"].tolist(),
                               name=str(arm), marker={"color": colors[str(arm)]}))
    drawn.update_xaxes(type="category")
    return drawn
