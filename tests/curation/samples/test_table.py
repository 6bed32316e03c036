"""Sample tables of every stage of a project and run; filters, boxes and lassos against naive loops."""

import datetime
import decimal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.project import Project, ProjectError
from curation.samples.frames import SampleTable, SelectionError, matches
from curation.samples.predicates import decision_mask
from curation.samples.regions import in_box, in_polygon
from curation.samples.table import sample_table, samples
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_manifest
from engine.contract.run_dir import RunDirError
from engine.contract.signal_columns import SIGNAL_COLUMNS
from tests.fakes import make_project, make_run, write_manifest

CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", size=4))


# -- the table


def test_a_table_needs_no_run(project: Project) -> None:
    project.ledger().pin(["train-00003"], "validation", "ada", why="sharp")
    table = sample_table(project, None)
    assert list(table["sample_id"]) == [f"train-{i:05d}" for i in range(60)]
    assert set(table["split"]) == {"train"} and "role" not in table and "x" not in table
    row = table.loc[3]
    assert (row["pin"], row["decided_by"], row["decided_why"]) == ("validation", "ada", "sharp")
    assert bool(row["in_validation"]) and pd.isna(row["relabel"])
    assert table["in_validation"].sum() == 1 and table["excluded"].dtype == bool
    assert list(table["current_label"]) == list(table["given_label"])


def test_a_queued_run_has_no_signals_and_a_running_one_no_map(project: Project) -> None:
    queued = sample_table(project, make_run(project, "queued", state="queued"))
    assert "role" not in queued and not queued["in_validation"].any()
    running = sample_table(project, make_run(project, "running", state="running"))
    assert set(SIGNAL_COLUMNS) <= set(running.columns) and "x" not in running and running["in_validation"].any()


def test_signals_and_map_stand_beside_the_manifest(project: Project) -> None:
    run = make_run(project)
    table = sample_table(project, run)
    signals, embedding = run.read_signals(), run.read_embedding()
    assert embedding is not None
    np.testing.assert_array_equal(table["weight"], signals["weight"])
    np.testing.assert_array_equal(table[["x", "y"]], embedding[["x", "y"]])
    assert list(table["signal_row"]) == list(range(60))


def test_resting_is_not_validation(project: Project) -> None:
    run = make_run(project)
    table, history = sample_table(project, run), run.read_history(np.arange(60))
    last = history[history["epoch"] == 4]
    routed = last["routed"].to_numpy(dtype=bool)
    resting = (last["role"] == "validation").to_numpy() & ~routed
    assert resting.any() and routed.any()
    np.testing.assert_array_equal(table["is_resting"], resting)
    np.testing.assert_array_equal(table["in_validation"], routed)
    assert set(table.loc[resting, "role"]) == {"train"} and set(table.loc[routed, "role"]) == {"validation"}


def test_present_decisions_outrank_the_run(project: Project) -> None:
    run = make_run(project)
    table = sample_table(project, run)
    routed = table.loc[table["in_validation"], "sample_id"].tolist()
    other = table.loc[~table["in_validation"], "sample_id"].tolist()
    ledger = project.ledger()
    ledger.exclude(routed[:1], who="ada")
    ledger.pin(routed[1:2], "train", "ada")
    ledger.pin(other[:2], "validation", "ada")
    ledger.exclude(other[1:2], who="ada")
    ledger.relabel(other[2:3], "bird", "ada")
    after = sample_table(project, run).set_index("sample_id")
    assert set(after.index[after["in_validation"]]) == {*routed[2:], other[0]}
    assert after.loc[other[2], "current_label"] == "bird"
    assert after.loc[other[2], "given_label"] != "bird" or after.loc[other[2], "relabel"] == "bird"


def test_a_table_survives_a_reimport_that_loses_adds_and_reorders_samples(project: Project) -> None:
    run = make_run(project)
    before = sample_table(project, run).set_index("sample_id")
    project.ledger().pin(["train-00000", "train-00005"], "validation", "ada")
    rows = read_manifest(project.path)
    rows = rows[rows["sample_id"] != "train-00000"].iloc[::-1]
    new = rows.iloc[[0]].assign(sample_id="train-new", split="train")
    write_manifest(project.path, pd.concat([rows, new], ignore_index=True), CLASSES, "images")

    table = sample_table(project, run)
    assert len(table) == 60 and table["sample_id"].iloc[-1] == "train-new"
    known = table.set_index("sample_id").drop(index="train-new")
    np.testing.assert_array_equal(known["weight"], before.loc[known.index, "weight"])
    np.testing.assert_array_equal(known["signal_row"], before.loc[known.index, "signal_row"])
    np.testing.assert_array_equal(known["x"], before.loc[known.index, "x"])
    last = table.iloc[-1]
    assert last["signal_row"] == -1 and pd.isna(last["role"]) and pd.isna(last["x"]) and not last["in_validation"]
    assert known.loc["train-00005", "in_validation"] and table["in_validation"].dtype == bool


def test_columns_of_the_data_keep_clear_of_ours(project: Project) -> None:
    rows = read_manifest(project.path).assign(weight=7.0, weight_data=8.0, camera="left")
    write_manifest(project.path, rows, CLASSES, "images")
    table = sample_table(project, make_run(project))
    assert table.columns.is_unique
    assert set(table["weight_data_data"]) == {7.0} and set(table["weight_data"]) == {8.0}
    assert set(table["camera"]) == {"left"} and table["weight"].max() < 2


def test_image_bytes_stay_out_of_the_table(project: Project) -> None:
    rows = read_manifest(project.path).drop(columns="path")
    rows["image"] = [{"bytes": b"x" * 10, "path": None}] * len(rows)
    write_manifest(project.path, rows, CLASSES, ".")
    assert "image" not in sample_table(project, None)


def test_a_folders_name_and_a_columns_are_no_patterns(tmp_path: Path) -> None:
    make_project(tmp_path / "pets1", num_train=30, size=4)
    path = make_project(tmp_path / "pets[12]", num_train=60, size=4)
    rows = read_manifest(path)
    write_manifest(path, rows.assign(**{"*": "a", "^s.*$": 2.0, "^nothing$": rows["split"]}), CLASSES, "images")
    project = Project.open(path)
    table = samples(project, make_run(path))
    assert len(table) == 60 and {"*", "^s.*$", "^nothing$"} <= set(table)
    assert table.rows([0], ["*", "^s.*$"]).to_dict("records") == [{"*": "a", "^s.*$": 2.0}]
    assert list(table.pandas("*")) == ["*"] and set(sample_table(project, None)["*"]) == {"a"}


def test_a_map_in_another_order_than_its_run_is_joined_by_id(project: Project) -> None:
    run = make_run(project)
    document = run.read_config()
    run.write_config({**document, "manifest_digest": file_digest(project.path / MANIFEST_NAME)})
    embedding, near = run.read_embedding(), run.read_neighbours()
    assert embedding is not None and near is not None
    before = sample_table(project, run)
    np.testing.assert_array_equal(before["x"], embedding["x"])
    for order in (np.arange(60)[::-1], np.arange(50)):
        run.write_embedding(embedding["sample_id"].to_numpy()[order], embedding[["x", "y"]].to_numpy()[order],
                            near[0][order], near[1][order])
        after = sample_table(project, run)
        np.testing.assert_array_equal(after["x"], before["x"].where(before["signal_row"].isin(order)))
    (run.path / "config.json").unlink()
    pd.testing.assert_frame_equal(sample_table(project, run), after)


def test_a_sample_without_a_split_is_refused_as_a_manifest_is(project: Project) -> None:
    rows = read_manifest(project.path)
    write_manifest(project.path, rows.assign(split=rows["split"].where(rows.index > 0)), CLASSES, "images")
    with pytest.raises(ProjectError, match="split must be one of"):
        samples(project, None)


def test_damage_of_a_runs_signals_is_one_line(project: Project) -> None:
    """Wherever it lies: what reads Parquet may stop with more than an exception."""
    run = make_run(project)
    content = run.signals_path.read_bytes()
    for at in range(10, len(content) - 200, len(content) // 40):
        run.signals_path.write_bytes(content[:at] + bytes(255 - b for b in content[at:at + 3]) + content[at + 3:])
        with pytest.raises(RunDirError, match="damaged from outside"):
            samples(project, run)


def test_kinds_of_the_datas_own_columns_come_back_from_the_table(project: Project) -> None:
    rows = read_manifest(project.path)
    day, price = datetime.date(2026, 11, 30), decimal.Decimal("1.23")
    write_manifest(project.path, rows.assign(day=day, price=price, info=[{"a": 1}] * len(rows)), CLASSES, "images")
    table = samples(project, None)
    assert (table["day"].kind, table["price"].kind, table["info"].kind) == ("other", "number", "other")
    row = table.rows([3]).iloc[0]
    assert (row["day"], row["price"], row["info"]) == (day, price, {"a": 1}) and table["price"].numbers[0] == 1.23


# -- filters


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({
        "role": pd.array(["train", "validation", None, "train"], dtype="str"), "weight": [0.5, 1.0, np.nan, 1.5],
        "excluded": [True, False, False, False], "name": pd.array(["a*b", "A.B", "<b>", None], dtype="str")})


@pytest.mark.parametrize(("filters", "expected"), [
    ({}, [True] * 4),
    ({"role": None}, [True] * 4),
    ({"role": "train"}, [True, False, False, True]),
    ({"role": ["validation", None]}, [False, True, True, False]),
    ({"role": []}, [False] * 4),
    ({"excluded": False}, [False, True, True, True]),
    ({"weight": {"min": 0.5, "max": 1.0}}, [True, True, False, False]),
    ({"weight": {"min": 1.0}}, [False, True, False, True]),
    ({"weight": {"is_null": True}}, [False, False, True, False]),
    ({"name": {"contains": "A"}}, [True, True, False, False]),
    ({"name": {"contains": "."}}, [False, True, False, False]),
    ({"name": {"contains": "nan"}}, [False] * 4),
    ({"role": "train", "weight": {"max": 1.0}}, [True, False, False, False]),
])
def test_filters(frame: pd.DataFrame, filters: dict, expected: list[bool]) -> None:
    assert matches(SampleTable.of(frame), filters).tolist() == expected
    assert matches(SampleTable.of(frame.astype({"role": "string", "name": "string"})), filters).tolist() == expected


@pytest.mark.parametrize(("filters", "message"), [
    ({"colour": "red"}, "must name a column of the table; got 'colour'"),
    ({"weight": {"above": 1}}, "min, max, contains and is_null; got 'above'"),
    ({"role": {"min": 1}}, "a range needs a column of numbers; role has none"),
])
def test_a_wrong_filter_is_refused(frame: pd.DataFrame, filters: dict, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        matches(SampleTable.of(frame), filters)


# -- shapes


def naive_in_polygon(xy: np.ndarray, polygon: np.ndarray) -> list[bool]:
    """The textbook even-odd loop, point by point and edge by edge."""
    answers = []
    for x, y in xy:
        is_inside, j = False, len(polygon) - 1
        for i in range(len(polygon)):
            (xi, yi), (xj, yj) = polygon[i], polygon[j]
            if (yi > y) != (yj > y) and x < (xj - xi) * (y - yi) / (yj - yi) + xi:
                is_inside = not is_inside
            j = i
        answers.append(is_inside)
    return answers


@pytest.mark.parametrize("seed", range(5))
def test_a_lasso_agrees_with_the_naive_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    polygon = rng.normal(size=(rng.integers(3, 30), 2))  # crosses itself
    xy = rng.normal(size=(400, 2))
    xy[::50] = np.nan
    xy[1:20:2, 1] = polygon[0, 1]  # level with a corner
    inside = in_polygon(xy, polygon)
    assert inside.tolist() == naive_in_polygon(xy, polygon)
    assert inside.any() and not inside[::50].any()
    np.testing.assert_array_equal(in_polygon(xy, polygon[::-1]), inside)


def test_a_lasso_on_a_grid_counts_shared_edges_once() -> None:
    """Two squares that share an edge: every grid point between their outer edges is in exactly one of them."""
    grid = np.stack(np.meshgrid(np.arange(0, 4.5, 0.5), np.arange(0, 2.5, 0.5)), axis=-1).reshape(-1, 2)
    left = in_polygon(grid, np.array([[0, 0], [2, 0], [2, 2], [0, 2]]))
    right = in_polygon(grid, np.array([[2, 0], [4, 0], [4, 2], [2, 2]]))
    assert not (left & right).any()
    assert (left | right).sum() == in_polygon(grid, np.array([[0, 0], [4, 0], [4, 2], [0, 2]])).sum() == 8 * 4


def test_a_lasso_too_small_or_not_finite() -> None:
    xy = np.zeros((3, 2))
    assert not in_polygon(xy, np.array([[-1, -1], [1, 1]])).any()
    assert not in_polygon(np.empty((0, 2)), np.array([[0, 0], [1, 0], [0, 1]])).any()
    with pytest.raises(SelectionError, match="must be finite"):
        in_polygon(xy, np.array([[0, 0], [1, np.nan], [0, 1]]))


def test_a_million_points_and_two_hundred_corners_are_quick() -> None:
    """0.2 s alone on the machine; the bound leaves room for others on it, and a loop over all points would break it."""
    rng = np.random.default_rng(0)
    xy = rng.normal(size=(1_000_000, 2)).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    radius = 1.5 + 0.4 * np.sin(7 * angle)
    polygon = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    started = time.process_time()
    num_inside = int(in_polygon(xy, polygon).sum())
    assert time.process_time() - started < 1.0
    assert 600_000 < num_inside < 700_000


def test_a_box_is_closed_and_takes_corners_in_any_order() -> None:
    xy = np.array([[0, 0], [1, 1], [0.5, 2], [np.nan, 0.5], [1.01, 0.5]])
    assert in_box(xy, 1, 0, 1, 0).tolist() == [True, True, False, False, False]


def test_masks_of_decisions_are_of_the_table_they_were_asked_of(project: Project) -> None:
    ids = list(sample_table(project, None)["sample_id"][:2])
    before = samples(project, None)
    assert not decision_mask(before, "excluded").any()
    project.ledger().exclude(ids, who="ada")
    after = samples(project, None)
    assert list(np.flatnonzero(decision_mask(after, "excluded"))) == [0, 1]
    assert not decision_mask(before, "excluded").any()
    with pytest.raises(ValueError, match="read-only"):
        decision_mask(after, "excluded")[0] = False
