"""The map as data: raster, overlay, colours, regions and figures against naive loops. No page is drawn."""

import base64
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from curation.views import map as map_view
from curation.views import palette, raster

EXTENT = (-1.0, 3.0, 0.0, 2.0)
HOSTILE = ("<img src=x onerror=alert(1)>", "=1+1", "*b* _i_", "$x$ :red[y]", "[a](http://evil)")


def points(num: int, seed: int = 0) -> np.ndarray:
    """(num, 2) float32, some outside EXTENT and some not finite."""
    xy = np.random.default_rng(seed).uniform((-1.5, -0.5), (3.5, 2.5), (num, 2)).astype(np.float32)
    xy[::17, 0] = np.nan
    return xy


def table(num: int, classes: tuple[str, ...] = ("cat", "dog"), seed: int = 0) -> pd.DataFrame:
    """A sample table with what the map needs: 2% pinned, 2% excluded, 5% routed."""
    rng = np.random.default_rng(seed)
    xy = rng.normal(0, 3, (num, 2)).astype(np.float32)
    return pd.DataFrame({
        "sample_id": [f"s{i:06d}" for i in range(num)], "given_label": rng.choice(classes, num), "x": xy[:, 0],
        "y": xy[:, 1], "pin": pd.array(np.where(rng.random(num) < 0.02, "validation", None), dtype="str"),
        "excluded": rng.random(num) < 0.02, "role": np.where(rng.random(num) < 0.05, "validation", "train"),
        "label_quality": rng.random(num).astype(np.float32), "margin": rng.uniform(-1, 1, num).astype(np.float32),
    }).assign(current_label=lambda frame: frame["given_label"])


def traces(figure: go.Figure) -> list[Any]:
    """The traces that hold points."""
    return [trace for trace in figure.data if trace.x is not None and len(trace.x) and trace.x[0] is not None]


# -- raster


def test_raster_counts_equal_a_naive_loop():
    xy, width, height = points(3000), 23, 11
    x0, x1, y0, y1 = EXTENT
    expected = np.zeros((height, width), dtype=int)
    for x, y in xy.astype(float):
        if x0 <= x <= x1 and y0 <= y <= y1:  # false for NaN
            expected[min(int((y1 - y) / (y1 - y0) * height), height - 1),
                     min(int((x - x0) / (x1 - x0) * width), width - 1)] += 1
    found = raster.counts_of(raster.cells_of(xy, EXTENT, width, height), width, height)
    assert (found == expected).all()
    assert 0 < found.sum() < len(xy)


def test_points_on_the_far_edges_belong_to_the_last_cells():
    corners = np.array([[-1, 0], [3, 0], [-1, 2], [3, 2]], dtype=np.float32)
    assert raster.counts_of(raster.cells_of(corners, EXTENT, 4, 2), 4, 2).tolist() == [[1, 0, 0, 1], [1, 0, 0, 1]]


def test_a_cell_has_the_mean_colour_of_its_points_and_grows_opaque_with_their_number():
    cells = np.array([0, 0, 0, 1, -1])
    colours = np.array([[0, 0, 0], [90, 30, 60], [180, 60, 120], [7, 8, 9], [255, 255, 255]], dtype=np.float32)
    image = raster.shade(cells, colours, 3, 1)
    assert image.shape == (1, 3, 4) and image.dtype == np.uint8
    assert image[0, 0, :3].tolist() == [90, 30, 60] and image[0, 1, :3].tolist() == [7, 8, 9]
    assert image[0, 0, 3] == 255 > image[0, 1, 3] > 100 and image[0, 2, 3] == 0


def test_the_raster_image_survives_its_encoding():
    image = raster.shade(np.array([0, 3]), np.full((2, 3), 200, dtype=np.float32), 2, 2)
    uri = raster.png_uri(image)
    assert uri.startswith("data:image/png;base64,")
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))) == image).all()


def test_the_extent_holds_every_finite_point_and_is_never_flat():
    xy = points(200)
    x0, x1, y0, y1 = raster.extent_of(xy)
    finite = xy[np.isfinite(xy).all(axis=1)]
    assert (finite[:, 0] > x0).all() and (finite[:, 0] < x1).all()
    assert (finite[:, 1] > y0).all() and (finite[:, 1] < y1).all()
    for few in (np.zeros((0, 2)), np.full((3, 2), np.nan), np.ones((5, 2))):
        x0, x1, y0, y1 = raster.extent_of(few)
        assert x1 > x0 and y1 > y0


def test_grid_cells_are_about_square_whatever_the_shape():
    for extent in (EXTENT, (0.0, 10.0, 0.0, 1.0), (0.0, 1.0, 0.0, 1.0)):
        width, height = raster.grid_of(extent, 50_000)
        cell = (extent[1] - extent[0]) / width, (extent[3] - extent[2]) / height
        assert cell[0] == pytest.approx(cell[1], rel=0.05)
        assert max(width, height) <= 900


# -- overlay


def masks(num: int, *sizes: int) -> list[np.ndarray]:
    """Masks over `num` rows of these sizes, overlapping at random."""
    rng = np.random.default_rng(1)
    return [np.isin(np.arange(num), rng.choice(num, size, replace=False)) for size in sizes]


def test_the_overlay_holds_every_important_sample_if_they_fit():
    groups = masks(10_000, 40, 300, 1200, 1000, 900)
    rows = raster.overlay_rows(groups)
    assert set(rows) == set(np.flatnonzero(np.any(groups, axis=0)))
    assert (np.diff(rows) > 0).all()


def test_the_overlay_is_shared_fairly_if_they_do_not_fit():
    groups = masks(200_000, 40, 300, 70_000, 1000, 20_000)
    rows = raster.overlay_rows(groups)
    assert len(rows) == raster.MAX_OVERLAY_POINTS == len(set(rows))
    for group in groups:
        num_own, num_held = int(group.sum()), int(group[rows].sum())
        assert num_held >= min(num_own, raster.MAX_OVERLAY_POINTS // len(groups)), "a group is starved"
    for group in (groups[0], groups[1], groups[3]):
        assert group[rows].sum() == group.sum(), "few samples are held completely"


def test_the_most_suspected_have_the_lowest_label_quality_and_unknown_ones_are_never_among_them():
    quality = np.random.default_rng(0).random(5000)
    quality[::3] = np.nan
    chosen = raster.most_suspected(quality, 100)
    assert chosen.sum() == 100 and np.isfinite(quality[chosen]).all()
    assert quality[chosen].max() <= np.nanmin(quality[~chosen])
    assert not raster.most_suspected(np.full(9, np.nan)).any()


# -- colours


def test_few_categories_have_a_colour_each_and_many_share_the_last():
    for num, expected in ((3, 3), (20, 20), (21, 20), (400, 20)):
        values = pd.Series([f"class {i}" for i in range(num) for _ in range(num - i)], name="kind")
        found = palette.colouring(values)
        assert len(found.names) == len(found.colours) == expected
        assert sum(found.counts) == len(values)
        if num > 20:
            assert found.names[-1] == f"{num - 19} other"
            top = values.value_counts().index[:19]
            assert set(found.names[:-1]) == set(top), "the most frequent keep their own colour"
    assert len(set(palette.CATEGORIES)) == len(palette.CATEGORIES) == 19


def test_missing_categories_are_a_group_of_their_own():
    found = palette.colouring(pd.Series(["a", None, "b", None], name="kind", dtype="str"))
    assert found.names == ("a", "b", "none") and found.counts == (1, 1, 2)
    assert found.colours[2] == palette.NO_VALUE_COLOUR


def test_roles_have_their_own_colours_in_their_own_order():
    found = palette.colouring(pd.Series(["validation", "train", "train"], name="role"))
    assert dict(zip(found.names, found.colours, strict=True)) == {k: palette.ROLE_COLOURS[k]
                                                                  for k in ("train", "validation")}


def test_the_bright_end_of_a_numeric_scale_is_the_bad_one_and_the_title_says_which():
    margin = palette.colouring(pd.Series([-1.0, 1.0, np.nan], name="margin"))
    loss = palette.colouring(pd.Series([0.1, 4.0], name="loss"))
    bright = palette.SCALE[-1]
    assert "low is bad" in margin.title and "high is bad" in loss.title
    low, high, unknown = palette.scale_rgb(margin.values, margin.low, margin.high, margin.scale)
    assert (low == palette.rgb((bright,))[0]).all() and (high == palette.rgb((palette.SCALE[0],))[0]).all()
    assert (unknown == palette.rgb((palette.NO_VALUE_COLOUR,))[0]).all()
    assert (palette.scale_rgb(loss.values, loss.low, loss.high, loss.scale)[1] == palette.rgb((bright,))[0]).all()


def test_one_value_alone_still_has_a_range():
    found = palette.colouring(pd.Series([2.0, 2.0], name="weight"))
    assert found.low < 2.0 < found.high


def test_columns_to_colour_by_leave_out_ids_and_what_is_empty_and_keep_the_users_own():
    frame = table(10).assign(path="a", clean_label=None, group="g", camera=range(10), boxes=[[1]] * 10)
    found = palette.colour_columns(frame)
    assert found[:2] == ["role", "current_label"]
    assert "camera" in found
    assert not {"sample_id", "path", "x", "y", "clean_label", "boxes"} & set(found)


# -- figures


def test_few_samples_are_svg_points_with_class_and_id_escaped():
    built = map_view.build(table(300, HOSTILE), "current_label")
    assert not built.is_raster and built.num_drawn == 300
    kinds = {trace.type for trace in traces(built.figure)}
    assert kinds == {"scatter"}
    text = "".join(line for trace in traces(built.figure) if trace.hovertext is not None for line in trace.hovertext)
    assert "&lt;img src=x" in text and "<img" not in text and "s000000" in text
    assert built.figure.layout.yaxis.scaleanchor == "x", "axes of equal scale"
    assert built.figure.layout.xaxis.visible is False and built.figure.layout.uirevision


def test_up_to_twenty_thousand_are_raw_points_that_a_lasso_never_sends_back():
    built = map_view.build(table(6000), "role")
    assert not built.is_raster
    points_of = [trace for trace in traces(built.figure) if trace.type == "scattergl"]
    assert sum(len(trace.x) for trace in points_of) == 6000
    assert all(trace.hovertext is None and trace.customdata is None for trace in points_of)
    # The drag belongs to an empty plot on axes of its own, which follow the others.
    assert built.figure.layout.xaxis2.matches == "x" and built.figure.layout.yaxis2.matches == "y"
    assert not any(trace.xaxis == "x2" for trace in traces(built.figure))


@pytest.fixture(scope="module")
def large() -> pd.DataFrame:
    return table(30_000)


def test_above_twenty_thousand_a_raster_stands_under_the_important_points(large):
    region = {"lasso": [], "box": [[0.0, 0.5, 0.0, 0.5]]}
    built = map_view.build(large, "role", region=region)
    assert built.is_raster and built.num_drawn <= raster.MAX_OVERLAY_POINTS and built.num_points == 30_000
    assert len(built.figure.layout.images) == 1
    drawn = {(float(x), float(y)) for trace in traces(built.figure) for x, y in zip(trace.x, trace.y, strict=True)}
    selected = map_view.region_mask(large[["x", "y"]].to_numpy(), region)
    must = (large["pin"].notna() | large["excluded"] | (large["role"] == "validation") | selected
            | raster.most_suspected(large["label_quality"].to_numpy())).to_numpy(dtype=bool)
    assert must.sum() < raster.MAX_OVERLAY_POINTS, "the case must fit to be a fair test"
    assert {(float(x), float(y)) for x, y in large.loc[must, ["x", "y"]].to_numpy()} == drawn


@pytest.mark.parametrize("column", ["role", "current_label", "margin"])
def test_a_figure_is_small_and_of_typed_arrays(large, column):
    built = map_view.build(large, column)
    text = built.figure.to_json()
    assert len(text) < 900_000
    for trace in json.loads(text)["data"]:
        if trace["type"].startswith("scatter") and trace.get("xaxis") != "x2":
            assert trace["x"]["dtype"] == trace["y"]["dtype"] == "f4", "float32 travels as bytes, not as a list"


def test_decisions_are_marked_under_any_colouring(large):
    for column in ("role", "margin"):
        marks = {name: count for name, _, count in map_view.build(large, column).marks}
        assert marks == {"pinned to validation": int(large["pin"].notna().sum()),
                         "excluded by people": int(large["excluded"].sum())}


def test_only_shown_rows_are_drawn_and_the_extent_stays():
    frame = table(500)
    shown = (frame["current_label"] == "cat").to_numpy()
    one, other = map_view.build(frame, "role", shown), map_view.build(frame, "role")
    assert one.num_points == shown.sum()
    assert one.figure.layout.xaxis.range == other.figure.layout.xaxis.range


def test_nothing_to_draw_is_an_empty_map():
    for column in ("role", "margin"):
        built = map_view.build(table(30), column, np.zeros(30, dtype=bool))
        assert built.num_points == 0 and not traces(built.figure) and not built.is_raster


def test_samples_without_a_place_are_left_out():
    frame = table(50)
    frame.loc[::5, "x"] = np.nan
    assert map_view.build(frame, "margin").num_points == 40


def test_a_table_without_signals_can_be_drawn():
    frame = table(40)[["sample_id", "given_label", "x", "y"]]
    assert map_view.build(frame, "given_label").num_points == 40


# -- regions


def event(**selection: Any) -> dict[str, Any]:
    return {"selection": {"points": [{"x": 9.0, "y": 9.0}], "point_indices": [4], "box": [], "lasso": [], **selection}}


def test_a_region_is_made_of_coordinates_alone():
    assert map_view.region_of(event()) is None, "lists of points are no region"
    assert map_view.region_of(None) is None and map_view.region_of({"selection": {}}) is None
    lasso = {"xref": "x2", "x": [0, 1, 1], "y": [0, 0, 1]}
    found = map_view.region_of(event(lasso=[lasso], box=[{"x": [3, 2], "y": [5, 4]}]))
    assert found == {"lasso": [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]], "box": [[2.0, 3.0, 4.0, 5.0]]}
    assert json.loads(json.dumps(found)) == found


def test_a_region_is_the_union_of_its_parts_over_the_whole_table():
    xy = np.random.default_rng(3).uniform(0, 6, (2000, 2))
    xy[0] = np.nan
    region = {"lasso": [[[0, 0], [2, 0], [0, 2]]], "box": [[4.0, 5.0, 1.0, 3.0]]}
    in_triangle = xy.sum(axis=1) < 2
    in_box = (xy[:, 0] >= 4) & (xy[:, 0] <= 5) & (xy[:, 1] >= 1) & (xy[:, 1] <= 3)
    assert (map_view.region_mask(xy, region) == (in_triangle | in_box)).all()


def test_a_region_in_words():
    assert map_view.region_words({"lasso": [[]], "box": []}) == "inside the lasso"
    assert map_view.region_words({"lasso": [[], []], "box": [[]]}) == "inside 2 lassos or the box"


@pytest.mark.parametrize(("num", "axis"), [(100, "x"), (6000, "x2")])
def test_a_new_figure_carries_the_region_where_the_next_lasso_will_be_drawn(num, axis):
    region = {"lasso": [[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]], "box": [[1.0, 2.0, 1.0, 2.0]]}
    selections = map_view.build(table(num), "role", region=region).figure.layout.selections
    assert [s.type for s in selections] == ["path", "rect"]
    assert {s.xref for s in selections} == {axis}
