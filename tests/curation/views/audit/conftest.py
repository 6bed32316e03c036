"""A project to audit."""

from pathlib import Path

import pytest

from curation.audit.reviews import batches, queues
from curation.project import Project
from engine.contract.run_dir import RunDir
from tests.curation.audit.suspects.test_scores import hide_truth, with_probabilities
from tests.fakes import make_project, make_run


@pytest.fixture
def pets(home: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """300 training samples, a tenth wrong, the truth known of 30; a run with probabilities; batches of few items."""
    monkeypatch.setattr(queues, "BATCH_SIZE", 12)
    monkeypatch.setitem(batches.find_served.__kwdefaults__, "size", 12)
    monkeypatch.setitem(batches.estimate_served.__kwdefaults__, "size", 30)
    path = make_project(home / "pets", num_train=300, size=2)
    make_run(path, "first")
    with_probabilities(RunDir.of(path, "first"), 300)
    hide_truth(path, 30)
    return Project.open(path)
