"""What could stand behind the table of samples: pandas, Polars and DuckDB, at so many rows.

    pip install polars duckdb
    python benchmarks/table_engines.py [--rows 1000000 3000000 10000000] [--repeats 5]

Each engine is a process of its own, so that its memory is its own. It opens one Parquet file with the columns of a
sample table (ids, paths, a label of 14 classes, two more texts of few values, eight numbers, a place on the map), and
then, each of --repeats times with other bounds: a filter of two conditions with the counts of every class among those
that pass (what the page shows beside its filters); all rows sorted by a number, and the sixtieth page of 60 of them; a
lasso of 40 corners on the map, with the counts of every class in it. pandas: texts of few values as categories, masks
and positions; Polars: what the app's own tables (curation.samples) stand on.

Says medians in seconds, and memory in MB: of the process after opening, and after all.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from curation.samples.regions import in_polygon

CLASSES = [f"class {i}" for i in range(14)]
NUMBERS = ("margin", "p_train", "weight", "loss", "p_wrong", "learned", "hardness", "score")
PAGE = 60


def make(path: Path, num: int) -> None:
    """A table of made values, written in parts."""
    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, num, 500_000):
        part = min(500_000, num - start)
        names = [f"{i:08d}" for i in range(start, start + part)]
        texts = {"sample_id": names, "path": [f"images/{n[:2]}/{n[2:5]}/{n}.jpg" for n in names],
                 "given_label": rng.choice(CLASSES, part), "role": rng.choice(["train", "validation", "rest"], part),
                 "group": rng.choice([f"sender {i}" for i in range(200)], part)}
        numbers = {name: rng.normal(size=part).astype(np.float32) for name in (*NUMBERS, "x", "y")}
        table = pa.table({**texts, **numbers})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def lasso(turn: int) -> np.ndarray:
    """(40, 2) corners of a star that holds about a fifth of the map."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    size = np.where(np.arange(40) % 2, 0.9, 0.6) + 0.01 * turn
    return np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1)


class OfPandas:
    def open(self, path: Path) -> None:
        kinds = dict.fromkeys(("given_label", "role", "group"), "category")
        self.frame = pq.read_table(path).to_pandas().astype(kinds)
        self.xy = self.frame[["x", "y"]].to_numpy()

    def filter(self, low: float) -> object:
        mask = self.frame["margin"].ge(low) & self.frame["role"].eq("train")
        return self.frame["given_label"][mask].value_counts()

    def page(self, name: str) -> int:
        order = np.argsort(-self.frame[name].to_numpy(), kind="stable")
        return len(self.frame.iloc[order[59 * PAGE:60 * PAGE]].to_dict("records"))

    def region(self, polygon: np.ndarray) -> object:
        return self.frame["given_label"][in_polygon(self.xy, polygon)].value_counts()


class OfPolars:
    def open(self, path: Path) -> None:
        import polars as pl

        self.pl = pl
        self.frame = pl.read_parquet(path).with_columns(pl.col("given_label", "role", "group").cast(pl.Categorical))
        self.xy = self.frame.select("x", "y").to_numpy()

    def filter(self, low: float) -> object:
        pl = self.pl
        return self.frame.lazy().filter((pl.col("margin") >= low) & (pl.col("role") == "train")).group_by(
            "given_label").len().collect()

    def page(self, name: str) -> int:
        rows = self.frame.select(self.pl.col(name).arg_sort(descending=True)).to_series()[59 * PAGE:60 * PAGE]
        return len(self.frame[rows].to_dicts())

    def region(self, polygon: np.ndarray) -> object:
        return self.frame.filter(in_polygon(self.xy, polygon)).group_by("given_label").len()


class OfDuckDB:
    def open(self, path: Path) -> None:
        import duckdb

        self.connection = duckdb.connect()
        self.connection.execute(f"CREATE TABLE t AS SELECT row_number() OVER () - 1 AS i, * FROM '{path}'")
        found = self.connection.execute("SELECT x, y FROM t ORDER BY i").fetchnumpy()
        self.xy = np.stack([found["x"], found["y"]], axis=1)

    def filter(self, low: float) -> object:
        return self.connection.execute("SELECT given_label, count(*) FROM t WHERE margin >= ? AND role = 'train' "
                                       "GROUP BY 1", [low]).fetchall()

    def page(self, name: str) -> int:
        return len(self.connection.execute(
            f"SELECT * FROM t ORDER BY {name} DESC LIMIT {PAGE} OFFSET {59 * PAGE}").fetchall())

    def region(self, polygon: np.ndarray) -> object:
        rows = pa.table({"i": np.flatnonzero(in_polygon(self.xy, polygon))})
        self.connection.register("chosen", rows)
        return self.connection.execute("SELECT given_label, count(*) FROM t JOIN chosen USING (i) "
                                       "GROUP BY 1").fetchall()


ENGINES = {"pandas": OfPandas, "polars": OfPolars, "duckdb": OfDuckDB}


def measure(name: str, path: str, repeats: int) -> dict[str, float]:
    """Medians in seconds and memory in MB of one engine on one file."""
    process, engine = psutil.Process(), ENGINES[name]()
    before = process.memory_info().rss

    def seconds(act: Callable[[], object]) -> float:
        began = time.perf_counter()
        act()
        return time.perf_counter() - began

    found = {"open": seconds(lambda: engine.open(Path(path)))}
    opened = process.memory_info().rss
    acts: dict[str, Callable[[int], object]] = {
        "filter": lambda turn: engine.filter(-0.5 + 0.01 * turn),
        "sort and page": lambda turn: engine.page(NUMBERS[turn % len(NUMBERS)]),
        "lasso": lambda turn: engine.region(lasso(turn))}
    for act, of in acts.items():
        found[act] = float(np.median([seconds(lambda of=of, turn=turn: of(turn)) for turn in range(repeats)]))  # type: ignore[misc]
    return {key: round(value, 3) for key, value in found.items()} | {
        "opened MB": round((opened - before) / 1e6), "after all MB": round((process.memory_info().rss - before) / 1e6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="whetstone-tables-") as folder:
        for num in args.rows:
            path = Path(folder) / f"{num}.parquet"
            make(path, num)
            for name in args.engines:
                with multiprocessing.get_context("spawn").Pool(1) as alone:
                    found = alone.apply(measure, (name, str(path), args.repeats))
                print(json.dumps({"rows": num, "engine": name, **found}), flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
