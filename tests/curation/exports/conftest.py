"""A small project of photos with all that an export may stumble over."""


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
