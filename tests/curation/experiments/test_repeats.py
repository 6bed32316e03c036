"""Which runs repeat one another: all but the seed alike, previews and damaged runs left out."""

from pathlib import Path

import pytest

from curation.experiments.repeats import repeats_of, same_but_seed
from curation.project import Project
from engine.contract.run_dir import RunDirError
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", num_train=20, size=2))


def test_repeats_are_runs_that_differ_by_seed_alone(project: Project) -> None:
    runs = [make_run(project, f"s{seed}", seed=seed) for seed in range(3)]
    other = [make_run(project, "longer", epochs=5), make_run(project, "erm", method="erm"),
             make_run(project, "unfinished", seed=9, state="running")]
    project.ledger().pin(["train-00001"], "validation", "ada")
    decided = make_run(project, "decided", seed=4)
    project.ledger().undo("ada")
    restored = make_run(project, "restored", seed=5)
    assert [run.name for run in same_but_seed(runs[0], [*runs, *other, decided, restored])] == [
        "s0", "s1", "s2", "restored"]
    assert [run.name for run in repeats_of(project.path, runs[1])] == ["s1", "restored", "s2", "s0"]
    assert [run.name for run in repeats_of(project.path, other[2])] == ["unfinished", "restored", "s2", "s1", "s0"]


def test_what_a_run_is_a_repeat_of_is_looked_at_again_when_its_files_change(project: Project) -> None:
    first, second = (make_run(project, name, seed=seed) for seed, name in enumerate(("first", "second")))
    assert len(repeats_of(project.path, first)) == 2
    second.write_config(second.read_config() | {"manifest_digest": "of other data"})
    assert repeats_of(project.path, first) == [first]
    first.write_config(first.read_config() | {"manifest_digest": "of other data"})
    assert [run.name for run in repeats_of(project.path, first)] == ["first", "second"]


def test_a_run_under_weights_of_another_repeats_those_under_the_same_alone(project: Project) -> None:
    own, *given = (make_run(project, name, method="erm", seed=seed) for seed, name in enumerate(("a", "b", "c", "d")))
    for run, digest in zip(given, ("one", "one", "two"), strict=True):
        run.write_config(run.read_config() | {"weights_from": {"run": "head", "signals_digest": digest}})
    assert [run.name for run in repeats_of(project.path, own)] == ["a"]
    assert {run.name for run in repeats_of(project.path, given[0])} == {"b", "c"}
    assert repeats_of(project.path, given[2]) == [given[2]]


def test_a_preview_repeats_nothing_and_a_damaged_run_is_passed_over(project: Project) -> None:
    first, preview, damaged = (make_run(project, name, seed=seed) for seed, name in enumerate(("a", "b", "c")))
    preview.write_config(preview.read_config() | {"warm_start": {"run": "a", "checkpoint": "1.pt"}})
    damaged.write_config(damaged.read_config() | {"config": {"metod": "erm"}})
    assert repeats_of(project.path, first) == [first] and repeats_of(project.path, preview) == [preview]
    (damaged.path / "config.json").write_text("{")
    assert same_but_seed(first, [first, damaged]) == [first]
    with pytest.raises(RunDirError, match="must be JSON"):
        same_but_seed(damaged, [first])
