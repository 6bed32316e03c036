"""The map as data: raster, overlay, colours, layers and regions against naive loops. No page is drawn."""

import io
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.project import Project
from curation.samples import regions as region_view
from curation.samples.columns import Column
from curation.samples.frames import SampleTable
from curation.views.map import layer as map_layer
from curation.views.map import raster
from curation.views.widgets import palette
from tests.fakes import make_project

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


def column(cells: pd.Series) -> Column:
    return SampleTable.of(cells.to_frame())[str(cells.name)]


def shade(cells: np.ndarray, colours: np.ndarray, width: int, height: int) -> np.ndarray:
    shades = raster.Shades(width, height)
    shades.add(cells, colours)
    return shades.image()


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
    image = shade(cells, colours, 3, 1)
    assert image.shape == (1, 3, 4) and image.dtype == np.uint8
    assert image[0, 0, :3].tolist() == [90, 30, 60] and image[0, 1, :3].tolist() == [7, 8, 9]
    assert image[0, 0, 3] == 255 > image[0, 1, 3] > 100 and image[0, 2, 3] == 0


def test_a_raster_added_to_in_blocks_is_that_of_all_at_once():
    rng = np.random.default_rng(0)
    cells, colours = rng.integers(-1, 12, 500), rng.uniform(0, 255, (500, 3)).astype(np.float32)
    shades = raster.Shades(4, 3)
    for start in range(0, 500, 7):
        shades.add(cells[start:start + 7], colours[start:start + 7])
    np.testing.assert_array_equal(shades.image(), shade(cells, colours, 4, 3))
    np.testing.assert_array_equal(shade(cells, colours[0], 4, 3), shade(cells, np.tile(colours[0], (500, 1)), 4, 3))


def test_the_raster_image_survives_its_encoding():
    image = shade(np.array([0, 3]), np.full((2, 3), 200, dtype=np.float32), 2, 2)
    assert (np.asarray(Image.open(io.BytesIO(raster.png(image)))) == image).all()


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


# -- colours


def test_few_categories_have_a_colour_each_and_many_share_the_last():
    for num, expected in ((3, 3), (20, 20), (21, 20), (400, 20)):
        values = pd.Series([f"class {i}" for i in range(num) for _ in range(num - i)], name="kind")
        found = palette.colouring(column(values))
        assert len(found.names) == len(found.colours) == expected
        assert sum(found.counts) == len(values)
        if num > 20:
            assert found.names[-1] == f"{num - 19} other"
            top = values.value_counts().index[:19]
            assert set(found.names[:-1]) == set(top), "the most frequent keep their own colour"
    assert len(set(palette.CATEGORIES)) == len(palette.CATEGORIES) == 19


def test_missing_categories_are_a_group_of_their_own():
    found = palette.colouring(column(pd.Series(["a", None, "b", None], name="kind", dtype="str")))
    assert found.names == ("a", "b", "none") and found.counts == (1, 1, 2)
    assert found.colours[2] == palette.NO_VALUE_COLOUR


def test_roles_have_their_own_colours_in_their_own_order():
    found = palette.colouring(column(pd.Series(["validation", "train", "train"], name="role")))
    assert dict(zip(found.names, found.colours, strict=True)) == {k: palette.ROLE_COLOURS[k]
                                                                  for k in ("train", "validation")}


def test_the_bright_end_of_a_numeric_scale_is_the_bad_one_and_the_title_says_which():
    margin = palette.colouring(column(pd.Series([-1.0, 1.0, np.nan], name="margin")))
    loss = palette.colouring(column(pd.Series([0.1, 4.0], name="loss")))
    scale = palette.SCALES["dark"]
    bright = scale[-1]
    assert "low is bad" in margin.title and "high is bad" in loss.title
    low, high, unknown = palette.scale_rgb(margin.values, margin.low, margin.high, margin.scale("dark"))
    assert (low == palette.rgb((bright,))[0]).all() and (high == palette.rgb((scale[0],))[0]).all()
    assert (unknown == palette.rgb((palette.NO_VALUE_COLOUR,))[0]).all()
    highest = palette.scale_rgb(loss.values, loss.low, loss.high, loss.scale("dark"))[1]
    assert (highest == palette.rgb((bright,))[0]).all()


def test_one_value_alone_still_has_a_range():
    found = palette.colouring(column(pd.Series([2.0, 2.0], name="weight")))
    assert found.low < 2.0 < found.high


def test_columns_to_colour_by_leave_out_ids_and_what_is_empty_and_keep_the_users_own():
    frame = table(10).assign(path="a", clean_label=None, group="g", camera=range(10), boxes=[[1]] * 10)
    found = palette.colour_columns(SampleTable.of(frame))
    assert found[:2] == ["role", "current_label"]
    assert "camera" in found
    assert not {"sample_id", "path", "x", "y", "clean_label", "boxes"} & set(found)


# -- layers


def layer_of(frame: pd.DataFrame, column: str = "role", **changes: Any) -> map_layer.Layer:
    xy = frame[["x", "y"]].to_numpy(np.float32)
    samples = SampleTable.of(frame)
    layer = map_layer.make_layer(Project.__new__(Project), samples, xy, raster.extent_of(xy),
                                 palette.colouring(samples[column]))
    return replace(layer, **changes)


def read(content: bytes) -> tuple[np.ndarray | None, pd.DataFrame]:
    """Raster and points of a picture, read as its docstring says."""
    num, size = struct.unpack_from("<II", content)
    png, rest = content[8:8 + size], content[8 + size:]
    x, y, rows = (np.frombuffer(rest, kind, num, 4 * num * i) for i, kind in enumerate(("<f4", "<f4", "<u4")))
    colours = np.frombuffer(rest, np.uint8, 3 * num, 12 * num).reshape(-1, 3)
    marks = np.frombuffer(rest, np.uint8, num, 15 * num)
    assert len(rest) == 16 * num
    found = pd.DataFrame({"x": x, "y": y, "row": rows, "marks": marks, "rgb": [tuple(map(int, c)) for c in colours]})
    return np.asarray(Image.open(io.BytesIO(png))) if size else None, found


def draw(layer: map_layer.Layer, view: raster.Extent | None = None) -> tuple[np.ndarray | None, pd.DataFrame]:
    return read(map_layer.picture(layer, view or layer.extent, 640, 540))


@pytest.fixture(scope="module")
def large() -> pd.DataFrame:
    return table(30_000)


def test_few_samples_are_all_points_with_place_row_and_colour_and_no_raster():
    frame = table(300)
    image, found = draw(layer_of(frame))
    assert image is None and sorted(found["row"]) == list(range(300))
    assert (frame.loc[found["row"], ["x", "y"]].to_numpy(np.float32) == found[["x", "y"]].to_numpy()).all()
    expected = {"train": (59, 117, 175), "validation": (222, 121, 0)}  # ROLE_COLOURS in decimal
    assert [expected[role] for role in frame.loc[found["row"], "role"]] == list(found["rgb"])


def test_of_many_samples_the_important_are_points_over_a_raster_of_all(large):
    region = {"lasso": [], "box": [[0.0, 0.5, 0.0, 0.5]]}
    inside = region_view.region_mask(large[["x", "y"]].to_numpy(), region)
    image, found = draw(layer_of(large, inside=inside))
    must = (large["pin"].notna() | large["excluded"] | (large["role"] == "validation") | inside
            | SampleTable.of(large)["label_quality"].lowest(map_layer.MAX_SUSPECTED)).to_numpy(dtype=bool)
    assert must.sum() < raster.MAX_OVERLAY_POINTS, "the case must fit to be a fair test"
    assert set(np.flatnonzero(must)) <= set(found["row"]) and len(found) == raster.MAX_OVERLAY_POINTS
    assert image is not None and image.shape[2] == 4 and max(image.shape) <= 640
    cells = raster.cells_of(large[["x", "y"]].to_numpy(np.float32), raster.extent_of(large[["x", "y"]].to_numpy()),
                            image.shape[1], image.shape[0])
    assert ((image[..., 3] > 0).ravel()[cells]).all() and (image[..., 3] > 0).sum() == len(np.unique(cells))


def test_zooming_turns_density_into_points_and_takes_none_away(large):
    layer = layer_of(large)
    x0, x1, y0, y1 = layer.extent
    middle = (x0 + 0.4 * (x1 - x0), x0 + 0.6 * (x1 - x0), y0 + 0.4 * (y1 - y0), y0 + 0.6 * (y1 - y0))
    _, whole = draw(layer)
    image, near = draw(layer, middle)
    before = whole[whole["x"].between(*middle[:2]) & whole["y"].between(*middle[2:])]
    assert image is not None and len(near) > 2 * len(before) and set(before["row"]) <= set(near["row"])
    tiny = (middle[0], middle[0] + 0.02 * (x1 - x0), middle[2], middle[2] + 0.02 * (y1 - y0))
    image, found = draw(layer, tiny)
    expected = large["x"].astype(np.float32).between(*tiny[:2]) & large["y"].astype(np.float32).between(*tiny[2:])
    assert image is None and sorted(found["row"]) == list(np.flatnonzero(expected)) and len(found) > 0


def test_what_filters_leave_out_is_pale_or_not_drawn_at_all(large):
    selected = (large["current_label"] == "cat").to_numpy()
    image, found = draw(layer_of(large, "current_label", selected=selected))
    assert ((found["marks"] & map_layer.FADED) > 0).to_numpy().tolist() == (~selected[found["row"]]).tolist()
    is_faded = (found["marks"] & map_layer.FADED).to_numpy() > 0
    assert (np.diff(is_faded.astype(int)) <= 0).all(), "what is selected is drawn last, on top"
    only_cats = layer_of(large, "current_label", selected=selected, is_selected_only=True)
    cats, found = draw(only_cats)
    assert selected[found["row"]].all()
    assert only_cats.extent == layer_of(large).extent, "hiding the rest does not move the map"
    assert (cats[..., 3] > 0).sum() < (image[..., 3] > 0).sum()


def test_decisions_are_marked_under_any_colouring(large):
    for column in ("role", "margin"):
        _, found = draw(layer_of(large, column))
        marked = {bit: set(found["row"][(found["marks"] & bit) > 0]) for bit in (1, 2, 4)}
        assert marked == {1: set(np.flatnonzero(large["pin"].notna())), 2: set(),
                          4: set(np.flatnonzero(large["excluded"]))}


def test_bad_values_and_rare_categories_are_drawn_on_top():
    frame = table(400)
    frame.loc[::9, "margin"] = np.nan
    order = frame["margin"].to_numpy()[draw(layer_of(frame, "margin"))[1]["row"]]
    assert np.isnan(order[:45]).all() and (np.diff(order[45:]) <= 0).all(), "the lowest margins last"
    roles = frame["role"].to_numpy()[draw(layer_of(frame, "role"))[1]["row"]]
    assert set(roles[-(frame["role"] == "validation").sum():]) == {"validation"}


def test_samples_without_a_place_are_left_out_and_nothing_is_an_empty_picture():
    frame = table(50)
    frame.loc[::5, "x"] = np.nan
    assert len(draw(layer_of(frame, "margin"))[1]) == 40
    image, found = draw(layer_of(frame, selected=np.zeros(50, dtype=bool), is_selected_only=True))
    assert image is None and found.empty
    bare = frame[["sample_id", "given_label", "x", "y", "current_label"]]
    assert len(draw(layer_of(bare, "given_label"))[1]) == 40, "a table without signals"


@pytest.mark.parametrize("column", ["role", "margin"])
def test_a_picture_is_the_same_however_many_samples_are_drawn_at_a_time(large, column, monkeypatch):
    selected = (large["current_label"] == "cat").to_numpy()
    layers = [layer_of(large, column), layer_of(large, column, selected=selected, inside=~selected)]
    whole = [map_layer.picture(layer, layer.extent, 640, 540) for layer in layers]
    monkeypatch.setattr(map_layer, "ROWS_AT_ONCE", 999)
    assert [map_layer.picture(layer, layer.extent, 640, 540) for layer in layers] == whole


def test_a_picture_stays_small(large):
    for column in ("role", "current_label", "margin"):
        assert len(map_layer.picture(layer_of(large, column), layer_of(large).extent, 640, 540)) < 600_000


# -- what the browser asks for


@pytest.fixture
def kept_layer(tmp_path: Path) -> tuple[str, map_layer.Layer]:
    project = Project.open(make_project(tmp_path / "p"))
    frame = table(40, HOSTILE)
    samples = SampleTable.of(frame)
    xy = frame[["x", "y"]].to_numpy()
    layer = map_layer.make_layer(project, samples, xy, raster.extent_of(xy), palette.colouring(samples["margin"]))
    token = map_layer.token_of(f"{tmp_path}")
    map_layer.keep(token, layer)
    return token, layer


def ask(**query: Any) -> Any:
    return map_layer._answer({name: str(value) for name, value in query.items()})


VIEW = {"x0": -9, "x1": 9, "y0": -9, "y1": 9, "w": 640, "h": 540}


def test_a_view_and_a_point_are_answered_as_data(kept_layer):
    token, layer = kept_layer
    answer = ask(layer=token, **VIEW)
    assert answer.status_code == 200 and answer.body == map_layer.picture(layer, (-9, 9, -9, 9), 640, 540)
    answer = ask(layer=token, row=3)
    said = json.loads(answer.body)
    assert answer.media_type == "application/json"
    assert said["id"] == layer.ids[3] and said["label"] == layer.labels[3] and said["label"] in HOSTILE
    assert said["value"] == f"Margin: {layer.colours.values[3]:.3g}" and said["src"].startswith("/api/thumbnail?")


def test_a_dark_page_gets_the_scale_and_the_faded_colour_that_are_legible_on_it(kept_layer, large):
    token, layer = kept_layer
    dark, light = (read(ask(layer=token, theme=name, **VIEW).body)[1].set_index("row") for name in ("dark", "light"))
    worst = int(np.nanargmin(layer.colours.values))  # a low margin is bad, so at the bright end of either scale
    assert dark["rgb"][worst] == (240, 249, 33) and light["rgb"][worst] == (232, 113, 89)
    faded = layer_of(large, selected=np.zeros(len(large), dtype=bool))
    image, _ = read(map_layer.picture(faded, faded.extent, 640, 540, "dark"))
    assert {tuple(map(int, pixel)) for pixel in image[image[..., 3] > 0][:, :3]} == {(60, 72, 69)}  # FADED_COLOURS


@pytest.mark.parametrize("change", [{"x0": "nan"}, {"x1": "inf"}, {"x0": 9}, {"w": 0}, {"h": 5000}, {"w": "many"},
                                    {"theme": "sepia"}, {"row": -1}, {"row": 40}, {"row": "1e99"}])
def test_a_view_that_makes_no_sense_is_refused(kept_layer, change):
    assert ask(**{"layer": kept_layer[0], **VIEW, **change}).status_code == 404


def test_only_layers_that_a_page_keeps_are_answered_and_the_oldest_go(kept_layer, monkeypatch):
    assert ask(layer="made up", **VIEW).status_code == 410 and ask(**VIEW).status_code == 410
    monkeypatch.setattr(map_layer, "MAX_LAYERS", 2)
    token, layer = kept_layer
    map_layer.keep("a", layer)
    assert ask(layer=token, **VIEW).status_code == 200, "asked for, so it stays"
    map_layer.keep("b", layer)
    assert ask(layer="a", **VIEW).status_code == 410 and ask(layer=token, **VIEW).status_code == 200
    assert map_layer.token_of("x") == map_layer.token_of("x") != map_layer.token_of("y")


# -- regions


def test_a_region_is_made_of_coordinates_alone():
    sent = {"owner": "x", "lasso": [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1]]], "box": [[3, 2, 5, 4]]}
    found = region_view.region_of(sent)
    assert found == {"lasso": [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]], "box": [[2.0, 3.0, 4.0, 5.0]]}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("sent", [None, {}, "lasso", {"lasso": [], "box": []}, {"lasso": [[["a", 1]] * 3], "box": []},
                                  {"lasso": 3, "box": []}, {"lasso": [], "box": [[0, 1, float("nan"), 2]]},
                                  {"lasso": [[[0, 0]] * 3000], "box": []}, {"lasso": [], "box": [[1, 2, 3]]}])
def test_what_is_no_region_is_none(sent):
    assert region_view.region_of(sent) is None


def test_a_region_is_the_union_of_its_parts_over_the_whole_table():
    xy = np.random.default_rng(3).uniform(0, 6, (2000, 2))
    xy[0] = np.nan
    region = {"lasso": [[[0, 0], [2, 0], [0, 2]]], "box": [[4.0, 5.0, 1.0, 3.0]]}
    in_triangle = xy.sum(axis=1) < 2
    in_box = (xy[:, 0] >= 4) & (xy[:, 0] <= 5) & (xy[:, 1] >= 1) & (xy[:, 1] <= 3)
    assert (region_view.region_mask(xy, region) == (in_triangle | in_box)).all()


def test_a_region_in_words():
    assert region_view.region_words({"lasso": [[]], "box": []}) == "inside the lasso"
    assert region_view.region_words({"lasso": [[], []], "box": [[]]}) == "inside 2 lassos or the box"
