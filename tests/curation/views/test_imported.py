"""The pages on predictions that were brought along: a run without a training, a map or, at first, neighbours."""

from pathlib import Path

import numpy as np
import pytest

from curation.evidence.predictions import import_predictions
from curation.project import Project
from tests import views
from tests.fakes import make_project, make_run


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Project:
    """Run oof has nothing but predictions; run mapped the map and neighbours of another besides."""
    opened = Project.open(make_project(home / "pets", num_train=90, size=2))
    rng = np.random.default_rng(0)
    np.save(tmp_path / "p.npy", rng.dirichlet([0.5] * 3, 90 + 24))
    import_predictions(opened, tmp_path / "p.npy", "oof")
    make_run(opened.path, "first", method="discriminant")
    import_predictions(opened, tmp_path / "p.npy", "mapped")
    return opened


@pytest.mark.parametrize("run", ["oof", "mapped"])
@pytest.mark.parametrize("page", ["data", "explore", "triage", "audit", "train", "compare", "decide", "export"])
def test_every_page_opens_on_it(project: Project, home: Path, page: str, run: str) -> None:
    app = views.start(home, page, project=project.name, run=run)
    said = " ".join(str(one.value) for one in [*app.markdown, *app.caption, *app.subheader])
    if page == "triage":
        assert ("no neighbours yet" in said) == (run == "oof")
    if page == "audit":
        assert ("take the neighbours of a run on features" in said) == (run == "oof")
    if page == "decide":
        assert "cannot be trained again here" in said
