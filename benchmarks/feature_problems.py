"""Problems on frozen features of real photos, where a run takes seconds: noise, unequal classes, rare and hard groups.

    python benchmarks/feature_problems.py OUT --photos PROJECT --answers audit_answers.csv
        [--clothing PROJECT] [--scenes PROJECT] [--features lite0] [--only human_noise,imbalance_50]

Each problem is a project of its own in OUT: rows of a source project under other labels, with hard links to its
features. --photos: in Clothing1M's layout, with --answers (key,clean_label) for its training split. --clothing: columns
sender_id and kids; the senders of a fifth of its photos are its test split, the group says kids or adult. --scenes:
column clean_label and several people's answers (answers.parquet); each training sample takes one of them at random, and
three tenths of the photos, with true labels, are its test split. The truth stays in clean_label, for scoring alone;
the oracles' decisions lie beside the manifest, as benchmarks/problems.py has them, and their weights in its columns
LABEL_ORACLE and GROUP_ORACLE, for `weights_by`. Trains nothing.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks import noise
from benchmarks.problems import NOISE_RATE, RARE_SHARE, SUBGROUPS
from curation.project import ANSWERS_NAME, Project
from engine.contract.manifest import MANIFEST_NAME, ManifestInfo, manifest_schema

COLUMNS = ("sample_id", "path", "split", "given_label", "clean_label", "group")
NOT_A_CLASS = ("Not sure", "Skip", "Other")
"""Labels of the clothing photos that say that there is none."""


class Source:
    """A project with features, and its samples: sample_id, path, split, given_label, clean_label (true), group."""

    def __init__(self, path: Path, rows: pd.DataFrame) -> None:
        self.path, self.rows = path, rows
        self.root = Project.open(path).root

    def train(self) -> pd.DataFrame:
        """The training rows, numbered from 0."""
        rows: pd.DataFrame = self.rows[self.rows["split"] == "train"].reset_index(drop=True)
        return rows

    def others(self) -> pd.DataFrame:
        """Rows of the other splits; they stay as they are."""
        rows: pd.DataFrame = self.rows[self.rows["split"] != "train"]
        return rows

    def classes(self) -> list[str]:
        return sorted(self.rows["clean_label"].dropna().unique()) or sorted(self.rows["given_label"].unique())

    def pixels(self, rows: pd.DataFrame) -> np.ndarray:
        """(n, 32, 32, 3) uint8 of these rows."""
        return np.stack([np.asarray(Image.open(self.root / path).convert("RGB").resize((32, 32)))
                         for path in rows["path"]])


def photos(path: Path, answers: Path) -> Source:
    """All three splits with their true labels."""
    project = Project.open(path)
    rows = project.manifest()
    answered = pd.read_csv(answers, dtype=str)
    names = [project.classes[int(label)] if label.isdigit() else label for label in answered["clean_label"]]
    truth = rows["sample_id"].map(dict(zip(answered["key"], names, strict=True)))
    is_train = rows["split"] == "train"
    clean = truth.where(is_train, rows["clean_label"].fillna(rows["given_label"]))
    rows = rows.assign(clean_label=clean, group=None, given_label=rows["given_label"].where(is_train, clean))
    return Source(path, rows[rows["clean_label"].notna()][list(COLUMNS)])


def clothing(path: Path) -> Source:
    """Real labels, split by sender; nothing is known to be true."""
    rows = Project.open(path).manifest()
    rows = rows[~rows["given_label"].isin(NOT_A_CLASS)]
    senders = np.random.default_rng(0).permutation(sorted(rows["sender_id"].astype(str).unique()))
    sizes = rows["sender_id"].astype(str).value_counts()
    in_test = set(senders[np.cumsum(sizes[senders].to_numpy()) <= len(rows) / 5])
    is_kids = rows["kids"].astype(str).str.lower().eq("true")
    rows = rows.assign(split=np.where(rows["sender_id"].astype(str).isin(in_test), "test", "train"),
                       clean_label=None, group=np.where(is_kids, "kids", "adult"))
    seen = rows.loc[rows["split"] == "train", "given_label"].unique()
    return Source(path, rows[rows["given_label"].isin(seen)][[*COLUMNS, "sender_id"]])


def scenes(path: Path) -> Source:
    """One random answer a training sample; the test split has true labels."""
    rows, rng = Project.open(path).manifest(), np.random.default_rng(0)
    labels = pd.read_parquet(path / ANSWERS_NAME).groupby("sample_id")["label"].agg(list)
    answers = rows["sample_id"].map(labels)
    is_test = rng.permutation(len(rows)) < 3 * len(rows) // 10
    given = [votes[int(rng.integers(len(votes)))] for votes in answers]
    rows = rows.assign(split=np.where(is_test, "test", "train"), group=None,
                       given_label=np.where(is_test, rows["clean_label"], given))
    return Source(path, rows[list(COLUMNS)])


# -- problems: a source's rows under other labels


Labels = Callable[[Source, pd.DataFrame, np.ndarray, int], np.ndarray]
"""Of a source, its training rows, their true classes (N,) and the number of classes: the given classes (N,)."""


def relabelled(labels: Labels) -> Callable[[Source], pd.DataFrame]:
    """The training samples under the labels that `labels` gives them."""
    def build(source: Source) -> pd.DataFrame:
        train, classes = source.train(), np.asarray(source.classes(), dtype=object)
        truth = pd.Categorical(train["clean_label"], list(classes)).codes.astype(int)
        return pd.concat([train.assign(given_label=classes[labels(source, train, truth, len(classes))]),
                          source.others()])
    return build


def righted(share: float) -> Callable[[Source], pd.DataFrame]:
    """Given labels, of which wrong ones are put right at random until this share of all is wrong."""
    def build(source: Source) -> pd.DataFrame:
        train = source.train()
        wrong = np.flatnonzero(train["given_label"] != train["clean_label"])
        kept = np.random.default_rng(5).permutation(wrong)[:round(share * len(train))]
        labels = train["clean_label"].to_numpy(dtype=object).copy()
        labels[kept] = train["given_label"].to_numpy(dtype=object)[kept]
        return pd.concat([train.assign(given_label=labels), source.others()])
    return build


def imbalance(factor: int) -> Callable[[Source], pd.DataFrame]:
    """True labels; class c keeps factor^(-c / (C - 1)) of the first class's size."""
    def build(source: Source) -> pd.DataFrame:
        train, classes = source.train(), source.classes()
        largest = int(train["clean_label"].value_counts().min())
        sizes = np.rint(largest * factor ** (-np.arange(len(classes)) / (len(classes) - 1))).astype(int)
        parts = [train[train["clean_label"] == name].iloc[:max(size, 2)]
                 for name, size in zip(classes, sizes, strict=True)]
        rows = pd.concat(parts)
        return pd.concat([rows.assign(given_label=rows["clean_label"]), source.others()])
    return build


def rare_subgroup(source: Source) -> pd.DataFrame:
    """True labels of two subgroups each; the harder has a twentieth of the other's size in training, not in test."""
    label_of = {name: label for label, names in SUBGROUPS["photos"].items() for name in names}
    rare = {names[-1] for names in SUBGROUPS["photos"].values()}
    train = source.train()
    num = int(train["clean_label"].value_counts().min())
    parts = [train[train["clean_label"] == name].iloc[:round(num * RARE_SHARE) if name in rare else num]
             for name in label_of]
    rows = pd.concat([*parts, source.others()])
    label = rows["clean_label"].map(label_of)
    return rows.assign(group=rows["clean_label"], given_label=label, clean_label=label)


def other_senders(source: Source) -> pd.DataFrame:
    """A tenth of the training photos, all that some of the senders took, are the clean split: a hard set of one's own,
    taken for right."""
    rows = source.rows
    sender = rows["sender_id"].astype(str)
    sizes = sender[rows["split"] == "train"].value_counts().sort_index()
    drawn = sizes.sample(frac=1, random_state=np.random.default_rng(0))
    chosen = set(drawn.index[drawn.cumsum() <= drawn.sum() / 10])
    is_clean = (rows["split"] == "train") & sender.isin(chosen)
    return rows.assign(split=rows["split"].mask(is_clean, "clean"),
                       clean_label=rows["given_label"].where(is_clean, None))


def as_given(source: Source) -> pd.DataFrame:
    return source.rows


PROBLEMS: dict[str, tuple[str, Callable[[Source], pd.DataFrame]]] = {
    "human_noise": ("photos", as_given), "human_noise_9": ("photos", righted(0.09)),
    "true_labels": ("photos", righted(0.0)),
    "symmetric_noise": ("photos", relabelled(lambda source, rows, truth, num: noise.symmetric(
        truth, num, NOISE_RATE, np.random.default_rng(0)))),
    "pair_noise": ("photos", relabelled(lambda source, rows, truth, num: noise.pair(
        truth, num, NOISE_RATE, np.random.default_rng(0)))),
    "instance_noise": ("photos", relabelled(lambda source, rows, truth, num: noise.instance_dependent(
        source.pixels(rows), truth, num, NOISE_RATE, np.random.default_rng(0)))),
    **{f"imbalance_{factor}": ("photos", imbalance(factor)) for factor in (10, 50, 200)},
    "rare_subgroup": ("photos", rare_subgroup), "clothing": ("clothing", as_given), "scenes": ("scenes", as_given),
    "clothing_senders": ("clothing", other_senders),
}
"""Name -> which source it needs, and how its rows are made."""
PREFIX = "features_"
"""Of a problem's folder."""
FEATURES = "frozen"
"""What a problem calls its features, whatever the source does."""
LABEL_ORACLE, GROUP_ORACLE = "oracle_weight", "oracle_group_weight"
"""Of training samples: 0 where the label is wrong, else 1; and what makes every group count alike. Empty where no label
is known to be wrong, and without groups."""


def with_oracles(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the oracles' weights."""
    is_train = rows["split"] == "train"
    is_known = is_train & rows["clean_label"].notna()
    is_right = (rows["given_label"] == rows["clean_label"]).astype(float)
    if is_right[is_known].all():
        is_known = is_known & False
    groups = rows["group"].where(is_train)
    sizes = groups.map(groups.value_counts())
    return rows.assign(**{LABEL_ORACLE: is_right.where(is_known),
                          GROUP_ORACLE: is_train.sum() / (groups.nunique() * sizes.astype(float))})


def write_project(source: Source, rows: pd.DataFrame, features: str, name: str, out: Path) -> Path:
    """The rows as a project of their own; its folder. The source's features are linked, not copied."""
    path = out / name
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "features" / FEATURES).exists():
        shutil.copytree(source.path / "features" / features, path / "features" / FEATURES, copy_function=os.link)
    classes = tuple(sorted(rows["given_label"].unique()))
    table = pa.Table.from_pandas(with_oracles(rows).dropna(axis=1, how="all"), preserve_index=False)
    info = ManifestInfo(classes=classes, root=str(source.root), source=f"problem {name}")
    pq.write_table(table.replace_schema_metadata(manifest_schema(table.schema, info).metadata), path / MANIFEST_NAME)
    (path / "project.json").write_text(json.dumps(
        {"name": name, "source": f"problem {name}", "root": str(source.root), "created": time.time()}))
    is_wrong = rows["clean_label"].notna() & (rows["given_label"] != rows["clean_label"])
    wrong = rows[(rows["split"] == "train") & is_wrong]
    for oracle, is_out in (("relabelled", False), ("excluded", True)):
        pd.DataFrame({"sample_id": wrong["sample_id"], "pin": None, "excluded": is_out,
                      "label": None if is_out else wrong["clean_label"]}).to_parquet(path / f"oracle_{oracle}.parquet")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--clothing", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--features", default="lite0")
    parser.add_argument("--only", default="", help="names, separated by commas; default: all that there is data for")
    args = parser.parse_args()
    if args.photos and not args.answers:
        parser.error("--photos needs --answers")
    sources = {name: made for name, made in (
        ("photos", args.photos and photos(args.photos, args.answers)),
        ("clothing", args.clothing and clothing(args.clothing)), ("scenes", args.scenes and scenes(args.scenes)))
        if made}
    for name in args.only.split(",") if args.only else [n for n, (kind, _) in PROBLEMS.items() if kind in sources]:
        kind, build = PROBLEMS[name]
        rows = build(sources[kind])
        path = write_project(sources[kind], rows, args.features, PREFIX + name, args.out)
        train = rows[rows["split"] == "train"]
        wrong = (train["given_label"] != train["clean_label"])[train["clean_label"].notna()].mean()
        print(f"{path}: {len(train):,} train ({wrong:.1%} wrong), {(rows['split'] == 'test').sum():,} test, "
              f"{train['given_label'].nunique()} classes")


if __name__ == "__main__":
    main()
