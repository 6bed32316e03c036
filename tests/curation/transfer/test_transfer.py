"""A transfer score from the command to what lies beside an export: which set, whose labels, in which words."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.audit.issues import suspected_ids
from curation.exports.digests import verify
from curation.exports.exporting import export
from curation.jobs import run_jobs
from curation.project import Project
from curation.samples import saved_views
from curation.samples.table import sample_table
from curation.transfer.asking import ask, others_features, own_features, scores_of
from curation.transfer.words import EASY_FOR_ITS_OWN, headline, lines, verdict
from engine.contract.config import RunConfig
from engine.contract.run_dir import RunDir
from engine.contract.transfers.transfer_dir import TransferDir, TransferError
from engine.runs.transfer import score_transfer
from tests.fake_features import make_features
from tests.fakes import make_project, make_run, write_manifest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A run on features own, other features, and a queue in which work is done at once."""
    project = Project.open(make_project(tmp_path / "p", num_train=180, size=4))
    run = make_run(project)
    document = run.read_config()
    document["config"]["features"] = "own"
    run.write_config(document)
    truth, rng = np.arange(180) % 3, np.random.default_rng(0)
    logits = rng.normal(size=(180, 3)) + 3 * np.eye(3)[truth]
    run.write_probabilities(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), "label_head")
    for name, spread in (("own", 0.4), ("other", 0.6)):
        make_features(project.path, name, spread=spread)

    def at_once(path: Path, kind: str, folder: RunDir, device: str, command: list[str]) -> None:
        assert (kind, device, command[1:]) == ("transfer", "cpu", [
            "-m", "engine", "transfer", str(path), "--name", folder.name])
        score_transfer(path, folder.name)

    monkeypatch.setattr(run_jobs, "enqueue", at_once)
    return project


def curated(project: Project) -> pd.DataFrame:
    table = sample_table(project, project.run("first"))
    return table[table["in_validation"]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of rdflib
def test_the_command_scores_the_set_of_a_run_and_exports_have_it_beside_them(project, tmp_path, capsys):
    wrong = curated(project)
    members = set(wrong["sample_id"])
    assert main(["transfer", str(project.path), "--run", "first", "--features", "other", "--repeats", "3", "--out",
                 str(tmp_path / "score.json")]) == 0
    said = capsys.readouterr().out
    assert f"hard-validation of run first: {len(members)} samples, against 3 random sets" in said
    assert "for its own backbone (own): " in said and "for other: " in said and "95% interval" in said
    suspects = suspected_ids(project, project.run("first"))
    assert suspects is not None and len(suspects) > 5
    suspects = set(suspects)
    num = TransferDir.of(project.path, "first-other").read_request()["num_suspected"]
    assert f"by the audit: {num} of the set" in said
    assert "A score of the set, not of a model" in said
    folder = TransferDir.of(project.path, "first-other")
    score = folder.read_score()
    assert json.loads((tmp_path / "score.json").read_text()) == score
    samples = folder.read_samples()
    assert set(samples["sample_id"][samples["is_in_set"]]) == members
    truth = project.manifest().set_index("sample_id")
    right = set(truth.index[truth["split"].eq("train") & truth["clean_label"].eq(truth["given_label"])])
    assert set(samples["sample_id"][samples["is_right"]]) == right
    pack = tmp_path / "pack"
    export(project, project.run("first"), "hard-validation", "imagefolder", pack)
    assert json.loads((pack / "transfer.json").read_text()) == {"scores": [score]} and not len(verify(pack))
    card = (pack / "README.md").read_text()
    assert "## Is it hard for another backbone?" in card and "transfer.json" in card
    assert "A score of the set, not of a model" in card and f"{len(suspects & members)} suspected labels are" in card
    data = pytest.importorskip("mlcroissant").Dataset(jsonld=pack / "croissant.json")
    assert data.metadata.ctx.issues.report() == ""
    records = [{key.partition("/")[2]: value for key, value in record.items()} for record in data.records("transfer")]
    found = next(r for r in records if (r["features"], r["labels"], r["figure"]) == ("other", "all", "accuracy"))
    assert found["low"] == pytest.approx(score["other"]["all"]["accuracy"]["low"]) and not found["is_own"]


def test_a_score_is_of_these_samples_under_these_labels(project):
    main(["transfer", str(project.path), "--run", "first", "--features", "other", "--repeats", "2"])
    assert len(scores_of(project, curated(project))) == 1
    first = str(curated(project)["sample_id"].iloc[0])
    other = next(name for name in project.classes if name != curated(project)["current_label"].iloc[0])
    project.ledger().relabel([first], other, who="ada")
    assert scores_of(project, curated(project)) == [], "one label is another"
    project.ledger().undo("ada")
    assert len(scores_of(project, curated(project))) == 1
    project.ledger().exclude([first], who="ada")
    assert scores_of(project, curated(project)) == []


def test_a_saved_selection_is_a_set_and_confirmed_labels_are_right_where_no_truth_is_known(project):
    rows = project.manifest()
    rows["clean_label"] = None
    rows.loc[rows["sample_id"].eq("train-00005"), "clean_label"] = "nothing of these"
    write_manifest(project.path, rows, project.classes, str(project.info.root))
    ids = [f"train-{n:05}" for n in range(0, 60, 3)]
    saved_views.save(project, "mine", {"ids": ids}, run="first", who="ada")
    given = rows.set_index("sample_id")["given_label"]
    project.ledger().relabel(["train-00003"], given["train-00003"], who="ada")
    project.ledger().relabel(["train-00005"], given["train-00005"], who="ada")
    project.ledger().exclude(["train-00006"], who="ada")
    asked = ask(Project.open(project.path), "other", set_name="mine")
    assert set(asked.samples["sample_id"][asked.samples["is_in_set"]]) == set(ids) - {"train-00006"}
    assert asked.samples["sample_id"][asked.samples["is_right"]].tolist() == ["train-00003"], "truth beats a person"
    assert (asked.request["run"], asked.request["own_features"]) == ("first", "own")


def test_the_features_that_a_run_on_images_started_from_are_its_own(project):
    run = RunDir.of(project.path, "first")
    document = run.read_config()
    config = RunConfig.from_dict({"network": "tiny", "splitter": {"features": "other"}})
    run.write_config({**document, "config": config.written()})
    assert own_features(run) == "other" and "other" not in others_features(project, run)


@pytest.mark.parametrize(("options", "said"), [
    ({"features": "own", "run": "first"}, "another backbone than the run's own; own are .*; choose one of other"),
    ({"features": "dino", "run": "first"}, "there are none called 'dino'; choose one of other"),
    ({"features": "other"}, "a hard-validation set is a run's; none was given; name it with --run"),
    ({"features": "other", "set_name": "gone"}, "no saved view gone"),
    ({"features": "other", "set_name": "odd"}, "the column colour is not there; save it anew"),
    ({"features": "other", "set_name": "empty", "run": "first"}, "empty has none; choose another set or run"),
])
def test_what_cannot_be_scored_is_one_line(project, options, said):
    saved_views.save(project, "odd", {"columns": {"colour": ["red"]}}, run="first", who="ada")
    saved_views.save(project, "empty", {"search": "no such id"}, run="first", who="ada")
    with pytest.raises(ValueError, match=said):
        ask(project, **options)


def test_with_one_set_of_features_it_says_how_to_make_another(project):
    shutil.rmtree(project.path / "features" / "other")
    with pytest.raises(TransferError, match="--backbone efficientnet_lite2 --name lite2` .*or bring your own: `"):
        ask(project, "dino", run="first")


def figure(of_set: float, of_random: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"of_set": of_set, "of_random": of_random, "difference": of_set - of_random, "low": low, "high": high}


def score(**changes: Any) -> Any:
    side = {"num_set": 50, "num_random": 48.0, "accuracy": figure(0.55, 0.74, -0.24, -0.14),
            "loss": figure(1.2, 0.8, 0.2, 0.6), "margin": figure(0.1, 0.5, -0.5, -0.3)}
    own = {"features": "lite0", "backbone": "b", "weight_decay": 0.1, "right": None,
           "all": side | {"accuracy": figure(0.41, 0.72, -0.35, -0.27)}}
    return {"request": {"set": "hard-validation", "run": "first", "features": "dino", "own_features": "lite0",
                        "num_repeats": 10, "num_suspected": 13, "other_suspected_frac": 0.2, "seed": 0,
                        "set_digest": ""},
            "num_samples": 100, "num_left_out": 4, "own": own,
            "other": own | {"features": "dino", "all": side, "right": side}, **changes}


def test_its_words_say_what_it_is_for_each_backbone_and_what_may_be_wrong_labels():
    own = score()["own"]
    assert headline(score()) == ("Still hard for the other backbone. Accuracy on labels known to be right for its own "
                                 "backbone (lite0): 41.0% against 72.0%; for dino: 55.0% against 74.0%.")
    easy = score()["other"]["all"] | {"accuracy": figure(0.9, 0.5, 0.3, 0.5)}
    assert headline(score(other=score()["other"] | {"all": easy})).startswith("Still hard"), "right labels tell"
    assert headline(score(own=None, other=own)) == ("Still hard for the other backbone. Accuracy for lite0: 41.0% "
                                                    "against 72.0%.")
    said = "\n".join(lines(score()))
    assert "100 samples, against 10 random sets" in said and "; 4 samples could not be scored." in said
    assert "By dino: 55.0% against 74.0%, difference -19.0 points (95% interval -24.0 to -14.0)" in said
    assert "Labels known to be right alone (50 samples of the set, 48 of a random set), by dino" in said
    assert "13 of the set (12.5%), 20.0% of the other training samples" in said
    bare = score(own=None, other=score()["own"])
    assert "its own" not in headline(bare) and "Too few labels are known to be right" in "\n".join(lines(bare))
    found = [verdict(score(other=own | {"all": easy | {"accuracy": figure(0, 0, *ends)}}))
             for ends in ((-2, -1), (-1, 1), (1, 2), (None, None))]
    assert found == ["Still hard for the other backbone", "Not shown to be hard for the other backbone",
                     "Easier than random sets for the other backbone",
                     "Too few samples or random sets to tell whether it is hard for the other backbone"]
    assert EASY_FOR_ITS_OWN not in lines(score()) and EASY_FOR_ITS_OWN in lines(score(own=own | {"all": easy}))
    doubtful = score(other=own, num_samples=10, num_left_out=5)
    assert verdict(doubtful) == "It looks hard to the other backbone, but 86.7% of its labels are suspected"
    assert verdict(score(num_samples=10, num_left_out=5)) == "Still hard for the other backbone", "right ones tell"
