"""Small real problems that show where learned weights and hard validation help, and where they do not.

    python benchmarks/problems.py OUT [--data DATA] [--only photos_human_noise,digits_imbalance_50]

DATA is a folder in Clothing1M's layout with audit_answers.csv (key,clean_label), such as CIFAR-10 with CIFAR-10N's
human labels; OUT gets one project a problem. The digits are scikit-learn's and need no DATA. Each problem keeps the
truth in clean_label, for scoring alone; the oracles' decisions lie beside the manifest: oracle_relabelled.parquet
(every wrong label corrected) and oracle_excluded.parquet (every wrong label left out). Trains nothing.
"""

import argparse
import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import noise
from engine.contract.manifest import MANIFEST_NAME, ManifestInfo, manifest_schema

NOISE_RATE = 0.4
RARE_SHARE = 0.05
COLOUR_AGREES = 0.95


class Pool(ABC):
    """The images and labels that problems are cut from: rows with key and truth (a position in `classes`) by split."""

    classes: tuple[str, ...]
    train: pd.DataFrame
    clean: pd.DataFrame
    test: pd.DataFrame

    @abstractmethod
    def encoded(self, keys: pd.Series) -> list[bytes]:
        """Each image as the file it lies in or would lie in."""

    def pixels(self, keys: pd.Series) -> np.ndarray:
        """(n, H, W, 3) uint8."""
        return np.stack([np.asarray(Image.open(BytesIO(b)).convert("RGB")) for b in self.encoded(keys)])


class Photos(Pool):
    """A folder in Clothing1M's layout; its training rows also have `noisy`, the label people gave."""

    def __init__(self, data: Path) -> None:
        def keys(name: str) -> list[str]:
            return (data / name).read_text().splitlines()

        def labels(name: str) -> dict[str, int]:
            return {k: int(v) for k, v in (line.rsplit(" ", 1) for line in keys(name))}

        self.data, self.classes = data, tuple(keys("category_names_eng.txt"))
        answers = pd.read_csv(data / "audit_answers.csv")
        truth = labels("clean_label_kv.txt") | dict(zip(answers["key"], answers["clean_label"], strict=True))
        self.train, self.clean, self.test = (
            pd.DataFrame({"key": rows}).assign(truth=[truth[k] for k in rows]) for rows in
            (keys(f"{name}_key_list.txt") for name in ("noisy_train", "clean_val", "clean_test")))
        self.train["noisy"] = self.train["key"].map(labels("noisy_label_kv.txt"))

    def encoded(self, keys: pd.Series) -> list[bytes]:
        return [(self.data / key).read_bytes() for key in keys]


class Digits(Pool):
    """scikit-learn's 1,797 handwritten digits, 8x8: 800 to train, 100 clean, 897 to test."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        self.classes = tuple(map(str, range(10)))
        self.images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        order = np.random.default_rng(0).permutation(len(bunch.target))
        self.train, self.clean, self.test = (
            pd.DataFrame({"key": [f"digit-{i:04d}" for i in rows], "truth": bunch.target[rows]}) for rows in
            (order[:800], order[800:900], order[900:]))

    def encoded(self, keys: pd.Series) -> list[bytes]:
        return [_png(np.repeat(self.images[int(key[6:10]), :, :, None], 3, axis=2)) for key in keys]


def _with_labels(pool: Pool, num_train: int, relabel: Callable[[pd.DataFrame], np.ndarray]) -> "Problem":
    """The first num_train training images under the labels that `relabel` gives them."""
    train = pool.train.iloc[:num_train].reset_index(drop=True)
    return Problem(pool.classes, train.assign(given=relabel(train)), pool.clean.assign(given=pool.clean["truth"]),
                   pool.test.assign(given=pool.test["truth"]), pool.encoded)


class Problem:
    """Three splits with key, truth and given (positions in `classes`), and optionally group (str)."""

    def __init__(self, classes: tuple[str, ...], train: pd.DataFrame, clean: pd.DataFrame, test: pd.DataFrame,
                 encoded: Callable[[pd.Series], list[bytes]]) -> None:
        self.classes, self.encoded = classes, encoded
        self.splits = {"train": train, "clean": clean, "test": test}


def human_noise(pool: Pool, num_train: int) -> Problem:
    """Real human label noise (worst of three annotators, 40% wrong)."""
    return _with_labels(pool, num_train, lambda t: t["noisy"].to_numpy())


def clean_labels(pool: Pool, num_train: int) -> Problem:
    """The same images under their true labels."""
    return _with_labels(pool, num_train, lambda t: t["truth"].to_numpy())


def symmetric_noise(pool: Pool, num_train: int) -> Problem:
    """40% of the true labels become any other class."""
    return _with_labels(pool, num_train, lambda t: noise.symmetric(
        t["truth"].to_numpy(), len(pool.classes), NOISE_RATE, np.random.default_rng(0)))


def pair_noise(pool: Pool, num_train: int) -> Problem:
    """40% of the true labels become the next class."""
    return _with_labels(pool, num_train, lambda t: noise.pair(
        t["truth"].to_numpy(), len(pool.classes), NOISE_RATE, np.random.default_rng(0)))


def instance_noise(pool: Pool, num_train: int) -> Problem:
    """Part-dependent noise of mean rate 40% (Xia et al. 2020)."""
    return _with_labels(pool, num_train, lambda t: noise.instance_dependent(
        pool.pixels(t["key"]), t["truth"].to_numpy(), len(pool.classes), NOISE_RATE, np.random.default_rng(0)))


def imbalance(factor: int) -> Callable[[Pool, int], Problem]:
    """True labels; class c keeps factor^(-c / (C - 1)) of the first class's size, num_train in all where they last."""
    def build(pool: Pool, num_train: int) -> Problem:
        num_classes = len(pool.classes)
        profile = factor ** (-np.arange(num_classes) / (num_classes - 1))
        largest = min(num_train / profile.sum(), int(pool.train["truth"].value_counts().min()))
        sizes = np.maximum(np.rint(largest * profile).astype(int), 2)
        parts = [pool.train[pool.train["truth"] == c].iloc[:size] for c, size in enumerate(sizes)]
        train = pd.concat(parts).sort_index().reset_index(drop=True)
        return Problem(pool.classes, train.assign(given=train["truth"]), pool.clean.assign(given=pool.clean["truth"]),
                       pool.test.assign(given=pool.test["truth"]), pool.encoded)
    build.__doc__ = f"True labels, largest class to smallest 1:{factor}."
    return build


SUBGROUPS = {
    "photos": {"air or sea": ("airplane", "ship"), "road": ("automobile", "truck"), "pet": ("dog", "cat"),
               "hoofed": ("horse", "deer"), "small animal": ("frog", "bird")},
    "digits": {"even": ("0", "2", "4", "6", "8"), "odd": ("1", "3", "5", "7", "9")},
}
"""Label -> its subgroups; the last of each is among the harder for plain training and is held rare."""


def rare_subgroup(pool: Pool, num_train: int) -> Problem:
    """Classes of several subgroups each, a hard one held to a twentieth of another's size in training, not in test."""
    names = list(pool.classes)
    subgroups = SUBGROUPS["digits" if isinstance(pool, Digits) else "photos"]
    label_of = {names.index(sub): i for i, subs in enumerate(subgroups.values()) for sub in subs}
    rare = {names.index(subs[-1]) for subs in subgroups.values()}
    num_common = min(round(num_train / (len(label_of) - len(rare))), int(pool.train["truth"].value_counts().min()))
    num_rare = max(round(num_common * RARE_SHARE), 2)
    parts = [pool.train[pool.train["truth"] == c].iloc[:num_rare if c in rare else num_common] for c in label_of]

    def cut(rows: pd.DataFrame) -> pd.DataFrame:
        labels = rows["truth"].map(label_of)
        return rows.assign(group=[names[c] for c in rows["truth"]], truth=labels, given=labels)

    return Problem(tuple(subgroups), cut(pd.concat(parts).sort_index().reset_index(drop=True)), cut(pool.clean),
                   cut(pool.test), pool.encoded)


def spurious_colour(pool: Digits, num_train: int) -> Problem:
    """Digits below five or not; in training 95% of the low ones are red and of the high ones green, in testing half."""
    rng, images = np.random.default_rng(0), {}

    def cut(rows: pd.DataFrame, agrees: float) -> pd.DataFrame:
        label = (rows["truth"].to_numpy() >= 5).astype(int)
        is_green = np.where(rng.random(len(rows)) < agrees, label, 1 - label)
        for key, green in zip(rows["key"], is_green, strict=True):
            rgb = np.zeros((8, 8, 3), dtype=np.uint8)
            rgb[..., int(green)] = pool.images[int(key[6:10])]
            images[key] = _png(rgb)
        group = [f"{'high' if y else 'low'} {'green' if g else 'red'}" for y, g in zip(label, is_green, strict=True)]
        return rows.assign(truth=label, given=label, group=group)

    return Problem(("low", "high"), cut(pool.train.iloc[:num_train], COLOUR_AGREES), cut(pool.clean, 0.5),
                   cut(pool.test, 0.5), lambda keys: [images[k] for k in keys])


def _png(rgb: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG")
    return buffer.getvalue()


LABELLINGS: dict[str, Callable[..., Problem]] = {
    "clean_labels": clean_labels, "symmetric_noise": symmetric_noise, "pair_noise": pair_noise,
    "instance_noise": instance_noise, "rare_subgroup": rare_subgroup,
    **{f"imbalance_{factor}": imbalance(factor) for factor in (1, 10, 50, 200)},
}
PROBLEMS: dict[str, tuple[str, Callable[..., Problem]]] = {
    **{f"digits_{name}": ("digits", build) for name, build in LABELLINGS.items()},
    "digits_spurious_colour": ("digits", spurious_colour),
    **{f"photos_{name}": ("photos", build) for name, build in LABELLINGS.items()},
    "photos_human_noise": ("photos", human_noise),
}


def write_project(problem: Problem, name: str, out: Path) -> Path:
    """The problem as a project folder with its oracles' decisions; images are embedded as they are encoded."""
    project = out / name
    project.mkdir(parents=True, exist_ok=True)
    classes = np.asarray(problem.classes, dtype=object)
    frames = []
    for split, rows in problem.splits.items():
        frames.append(pd.DataFrame({
            "sample_id": rows["key"].to_numpy(), "given_label": classes[rows["given"]],
            "clean_label": classes[rows["truth"]], "split": split,
            "group": rows["group"].to_numpy() if "group" in rows else None,
            "image": [{"bytes": b, "path": None} for b in problem.encoded(rows["key"])]}))
    table = pd.concat(frames, ignore_index=True).drop_duplicates("sample_id")
    if table["group"].isna().all():
        table = table.drop(columns="group")
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    info = ManifestInfo(classes=problem.classes, root=".", source=f"problem {name}")
    pq.write_table(arrow.replace_schema_metadata(manifest_schema(arrow.schema, info).metadata),
                   project / MANIFEST_NAME)
    (project / "project.json").write_text(json.dumps(
        {"name": name, "source": f"problem {name}", "created": time.time()}))
    is_wrong = (table["split"] == "train") & (table["given_label"] != table["clean_label"])
    wrong = table[is_wrong]
    for oracle, is_out in (("relabelled", False), ("excluded", True)):
        decisions = pd.DataFrame({"sample_id": wrong["sample_id"], "pin": None, "excluded": is_out,
                                  "label": None if is_out else wrong["clean_label"]})
        decisions.to_parquet(project / f"oracle_{oracle}.parquet")
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="the photos; without them only the digits' problems are made")
    parser.add_argument("--only", default="", help="names, separated by commas; default: all that there is data for")
    parser.add_argument("--num-train", type=int, default=3000, help="training photos of a problem")
    args = parser.parse_args()
    pools: dict[str, Pool] = {"digits": Digits()} | ({"photos": Photos(args.data)} if args.data else {})
    for name in args.only.split(",") if args.only else [n for n, (kind, _) in PROBLEMS.items() if kind in pools]:
        kind, build = PROBLEMS[name]
        problem = build(pools[kind], len(pools[kind].train) if kind == "digits" else args.num_train)
        project = write_project(problem, name, args.out)
        train = problem.splits["train"]
        wrong = float((train["given"] != train["truth"]).mean())
        print(f"{project}: {len(train):,} train ({wrong:.1%} wrong), {len(problem.splits['clean']):,} clean, "
              f"{len(problem.splits['test']):,} test, {len(problem.classes)} classes")


if __name__ == "__main__":
    main()
