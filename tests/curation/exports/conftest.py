"""Small projects of photos: one with all that an export may stumble over, and one of real photos where some are."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from curation.project import Project
from curation.sources.importing import import_project
from tests.fakes import make_run

CLASSES = ("zebra", "-cat", "dog", "=bird")
"""Two that a spreadsheet would run, in an order that no sorting gives, the last without a sample of its own."""
NAMES = ("IMG_0000.jpg", "phone/IMG_0000.jpg", "scan/IMG_0000.jpg", "scan/IMG_0000.jp2", "odd.avif", "@odd.tiff")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same names in the folders of three classes and below them, odd suffixes, two relabels, three left out."""
    base = tmp_path_factory.mktemp("photos")
    rows = []
    for code, label in enumerate(CLASSES[:3]):
        for number, name in enumerate(NAMES):
            path = base / "data" / str(code) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (60 * code, 40 * number, 90)).save(path)
            rows.append({"path": f"{code}/{name}", "label": label})
    pd.DataFrame(rows).to_parquet(base / "data" / "all.parquet")
    (base / "classes.txt").write_text("\n".join(CLASSES))
    import_project("table", base / "p", root=base / "data" / "all.parquet", classes=str(base / "classes.txt"))
    project = Project.open(base / "p")
    ids = project.manifest()["sample_id"].tolist()
    make_run(project)
    project.ledger().pin(ids, "validation", who="ada")
    project.ledger().relabel(ids[:2], "dog", who="ada")
    project.ledger().relabel(ids[7:8], "=bird", who="bob")
    project.ledger().exclude(ids[3:6], who="ada")
    return project


@pytest.fixture(scope="session")
def real_photos(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """60 real photos with the labels that people gave them: all in the hard validation set but three, two of them under
    another label."""
    base = tmp_path_factory.mktemp("real")
    names = (real_data / "category_names_eng.txt").read_text().split()
    label_of = dict(line.rsplit(" ", 1) for line in (real_data / "noisy_label_kv.txt").read_text().splitlines())
    keys = (real_data / "noisy_train_key_list.txt").read_text().splitlines()[:60]
    pd.DataFrame({"path": keys, "label": [names[int(label_of[key])] for key in keys]}).to_parquet(base / "some.parquet")
    (base / "classes.txt").write_text("\n".join(names))
    import_project("table", base / "p", root=base / "some.parquet", image_root=str(real_data),
                   classes=str(base / "classes.txt"))
    project = Project.open(base / "p")
    ids = project.manifest()["sample_id"].tolist()
    make_run(project)
    project.ledger().pin(ids, "validation", who="ada")
    project.ledger().exclude(ids[:3], who="ada")
    project.ledger().relabel(ids[3:5], names[0], who="ada")
    return project
