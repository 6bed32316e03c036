"""Parquet files: columns of any type, of one name twice, classes whose names stand in the schema."""

import datetime
import decimal
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.exit_status import DONE, LOST
from tests.curation.cases.bring import bring
from tests.picture_files import write_image

PATHS = [f"images/im{idx}.png" for idx in range(12)]
LABELS = ["cat", "dog", "bird"] * 4
SAID = ("classes: 4 names of column 'label' in the schema", "class 'owl' has no training sample")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    for idx, path in enumerate(PATHS):
        write_image(folder / path, seed=idx, size=4)
    return folder


def parquet(home: Path, table: pa.Table) -> Path:
    pq.write_table(table, home / "labels.parquet")
    return home / "labels.parquet"


@pytest.mark.parametrize(("extra", "value"), [
    (pd.to_timedelta(range(12), unit="s"), "0"), ([datetime.time(1, 2, 3)] * 12, "01:02:03"),
    ([datetime.date(2020, 1, 1)] * 12, "2020-01-01"), ([decimal.Decimal("1.10")] * 12, "1.1"),
    (pa.array([10**18] * 12, pa.timestamp("ns", "Europe/Berlin")), "2001-09-09"),
    (pa.array([2**64 - 1] * 12, pa.uint64()), "18446744073709551615"), (pa.nulls(12), "nan"),
    (pa.array(["x"] * 12, pa.large_string()), "x"), (pa.array(np.float16([1] * 12)), "1.0"),
    (pa.array([b"x"] * 12, pa.large_binary()), None), (pa.array([b"0123456789abcdef"] * 12, pa.binary(16)), None)],
    ids=lambda one: str(getattr(one, "dtype", getattr(one, "type", type(one).__name__))))
def test_a_column_of_any_type_costs_itself_at_most(home: Path, tmp_path: Path, extra: object,
                                                    value: str | None) -> None:
    column = extra if isinstance(extra, pa.Array) else pa.array(extra)
    found = bring("table", parquet(home, pa.table({"path": PATHS, "label": LABELS, "more": column})), tmp_path / "p")
    assert (found.status, len(found.rows)) == (DONE, 12)
    if value is None:
        assert "more" not in found.rows and "columns left out, since they hold no plain values: more" in found.said
    else:
        assert str(found.rows["more"][0]).startswith(value)


def test_columns_of_one_name_are_refused_by_that_name(home: Path, tmp_path: Path) -> None:
    table = pa.table([pa.array(PATHS), pa.array(LABELS), pa.array(LABELS)], names=["path", "label", "label"])
    assert "column names must differ; 'label' repeats in labels.parquet" in bring(
        "table", parquet(home, table), tmp_path / "p").said


def test_numbers_in_dictionaries_and_missing_ones(home: Path, tmp_path: Path) -> None:
    table = pa.table({"path": pa.array(PATHS, pa.large_string()).dictionary_encode(),
                      "label": pa.array([1, 2, None] * 4, pa.int8()).dictionary_encode()})
    found = bring("table", parquet(home, table), tmp_path / "p")
    assert (found.status, len(found.rows), found.lost) == (LOST, 8, 4) and set(found.rows["given_label"]) == {"1", "2"}


def test_names_of_classes_in_the_schema(home: Path, tmp_path: Path) -> None:
    names = ["zebra", "dog", "cat", "owl"]
    feature = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table({"path": PATHS, "label": pa.array([0, 1, 2, -1] * 3)})
    table = table.replace_schema_metadata({"huggingface": json.dumps(feature)})
    found = bring("table", parquet(home, table), tmp_path / "p")
    assert (found.status, found.lost) == (LOST, 3), "-1 is no label"
    assert found.rows["given_label"].tolist() == names[:3] * 3
    assert all(words in found.said for words in SAID)
    frame = pd.DataFrame({"path": PATHS, "label": pd.Categorical(["dog", "zebra", "cat"] * 4, categories=names)})
    frame.to_parquet(home / "labels.parquet")
    found = bring("table", home / "labels.parquet", tmp_path / "q")
    assert found.status == DONE and found.rows["given_label"].tolist() == ["dog", "zebra", "cat"] * 4
    assert all(words in found.said for words in SAID)
    found = bring("table", parquet(home, pa.table({"path": PATHS, "label": pa.array(LABELS).dictionary_encode()})),
                  tmp_path / "r")
    assert found.status == DONE and "in the schema" not in found.said, "a way to store text"
