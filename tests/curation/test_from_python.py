"""The lines of Python that curation's docstring shows, run as they stand there."""

import inspect
import re
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import curation
from curation.audit.issues import get_label_quality_scores, health_summary, scores_by
from curation.evidence.predictions import import_predictions
from curation.project import Project
from curation.samples.table import sample_table
from engine.data.roles import RoleDataset, RoleError, weighted_loss
from tests import ROOT
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open(make_project(tmp_path / "projects" / "demo"))
    project.ledger().pin(["train-00003"], "validation", who="ada")
    make_run(project)
    return project


def test_the_lines_in_the_docstring_run(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line[4:] for line in str(curation.__doc__).splitlines() if line.startswith("    ") or not line]
    (tmp_path / "lines.py").write_text("\n".join(lines))
    given = project.manifest().query("split == 'train'")
    codes = given["clean_label"].map({name: code for code, name in enumerate(project.classes)}).to_numpy()
    np.save(tmp_path / "probabilities.npy", np.full((60, 3), 0.05) + 0.85 * np.eye(3)[codes])
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(tmp_path / "lines.py"))
    issues = names["issues"]
    wrong = set(given["sample_id"][given["given_label"] != given["clean_label"]]) - set(names["ids"])
    assert set(issues["sample_id"][:len(wrong)]) == wrong and issues["is_label_issue"][:len(wrong)].all()
    assert {"p_wrong", "label_quality", "suggested_label"} <= set(issues)
    assert project.ledger().batches()["who"].tolist() == ["ada"] * 3 and len(names["frame"]) == 60
    assert names["picture"].shape == (16, 16, 3) and names["weight"] > 0
    assert all(len(block.splitlines()) <= 7 for block in inspect.getdoc(curation).split("\n\n"))


def test_the_example_of_the_readme_runs(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "example.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(tmp_path / "example.py"))
    worst = names["worst"]
    state = project.ledger().state().set_index("sample_id")
    assert state["label"][worst["sample_id"]] == worst["suggested_label"] and state["excluded"].sum() == 2
    assert len(names["quality"]) == len(names["frame"]) == 60 and names["quality"].between(0, 1).all()
    assert torch.isfinite(names["loss"]) and set(names["health"].classes_by_label_quality["class_name"]) == set(
        project.classes)


def test_the_health_of_labels_is_what_the_model_expects_of_each(project: Project, tmp_path: Path) -> None:
    given = project.manifest().query("split == 'train'")
    codes = given["clean_label"].map(project.classes.index).to_numpy()
    np.save(tmp_path / "own.npy", np.full((60, 3), 0.05) + 0.85 * np.eye(3)[codes])
    import_predictions(project, tmp_path / "own.npy", "own")
    scores, _ = scores_by(project, "own")
    health = health_summary(project, "own")
    p_wrong = pd.Series(np.float64(scores.p_wrong), index=given["given_label"].to_numpy())
    assert p_wrong.notna().all() and health.overall_label_health_score == pytest.approx(1 - p_wrong.mean())
    rows = health.classes_by_label_quality.set_index("class_name")
    assert rows["label_noise"].to_dict() == pytest.approx(p_wrong.groupby(level=0).mean().to_dict())
    assert rows["label_issues"].to_dict() == (p_wrong >= 0.5).groupby(level=0).sum().to_dict()
    assert rows["num_samples"].to_dict() == given["given_label"].value_counts().to_dict()
    assert rows["label_quality_score"].is_monotonic_increasing
    wrong = given[given["given_label"] != given["clean_label"]]
    mixed = {frozenset(pair) for pair in zip(wrong["given_label"], wrong["clean_label"], strict=True)}
    top = health.overlapping_classes.iloc[0]
    assert {top["class_name_a"], top["class_name_b"]} in mixed and top["num_overlapping_examples"] >= 1
    quality = get_label_quality_scores(project, "own")
    assert quality[given["sample_id"]].to_numpy() == pytest.approx(
        np.where(given["given_label"] == given["clean_label"], 0.9, 0.05))


@pytest.mark.parametrize("role", ["train", "validation"])
def test_a_role_is_that_of_the_sample_table(project: Project, role: str) -> None:
    run = project.run("first")
    table = sample_table(project, run)
    first, second = table["sample_id"][table["in_validation"]].tolist()[:2]
    ledger = project.ledger()
    ledger.exclude([first], who="ada")
    ledger.relabel([second], "bird", who="ada")
    table = sample_table(project, run).set_index("sample_id")
    in_validation = table["in_validation"]
    wanted = table.index[in_validation if role == "validation" else ~in_validation & ~table["excluded"]]
    data = RoleDataset(project.path, "first", role)  # type: ignore[arg-type]
    assert list(data.sample_ids) == list(wanted) and len(data) == len(wanted) > 3
    for idx in range(len(data)):
        picture, label, weight = data[idx]
        row = table.loc[data.sample_ids[idx]]
        assert (project.classes[label], picture.size) == (row["current_label"], (16, 16))
        assert weight == (1.0 if np.isnan(row["weight"]) else np.float32(row["weight"]))


def test_a_role_without_samples_is_said(project: Project) -> None:
    project.ledger().undo("ada")
    make_run(project, "plain", method="erm")
    with pytest.raises(RoleError, match="run plain has none of role 'validation'"):
        RoleDataset(project.path, "plain", "validation")


def test_the_weighted_loss_is_the_mean_of_weight_times_cross_entropy() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]], dtype=torch.float64)
    labels, weights = torch.tensor([0, 0, 1]), torch.tensor([1.0, 0.5, 0.0])
    each = [np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0)), np.log(2.0)]
    torch.testing.assert_close(weighted_loss(logits, labels, weights),
                               torch.tensor((each[0] + 0.5 * each[1]) / 3, dtype=torch.float64))
