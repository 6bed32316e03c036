"""Health and report of an audit: right figures in the right place, whatever is not known said, nothing that runs."""

import doctest
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.audit.estimate.allocation import draw
from curation.audit.estimate.goal import Change, new_goal
from curation.audit.estimate.noise_rate import Rate, estimate
from curation.audit.estimate.sampling_plan import Plan, make_plan
from curation.audit.report import figures, findings
from curation.audit.report.health import health
from curation.audit.report.page import report_html, report_json
from curation.audit.report.rate_words import UNTIL_THEN
from curation.audit.report.summaries import agreement_part, corrections_part, find_part, strata_part
from curation.audit.reviews.known_labels import decided_labels, training_rows, with_labels
from curation.audit.reviews.random_queue import random_verdicts
from curation.audit.reviews.reconcile import reconcile
from curation.audit.suspects.scores import Scores
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.samples.frames import SampleTable
from engine.contract.manifest import file_digest, read_manifest
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run

HOSTILE = ("<img src=x onerror=alert(1)>", "</style><script>alert(2)</script>", "bird & \"co\" \u202e")
NUM = 300


class Audit:
    """A project of 300 samples, a tenth of them wrong, with a run, scores and a plan."""

    def __init__(self, path: Path, classes: tuple[str, ...]) -> None:
        self.project = Project.open(make_project(path, num_train=NUM, size=2, classes=classes))
        self.run = make_run(self.project)
        rows = read_manifest(self.project.path).query("split == 'train'")
        self.ids = rows["sample_id"].to_numpy(dtype=object)
        code = {name: i for i, name in enumerate(classes)}
        self.given, self.truth = (rows[name].map(code).to_numpy() for name in ("given_label", "clean_label"))
        rng = np.random.default_rng(0)
        p = np.where(self.given != self.truth, rng.uniform(0.4, 0.99, NUM), rng.uniform(0.01, 0.5, NUM))
        self.scores = Scores(
            samples=SampleTable.of(pd.DataFrame({"sample_id": self.ids})), classes=classes, columns={},
            given=self.given, current=self.given.copy(),
            suggested=np.where(self.given != self.truth, self.truth, (self.given + 1) % len(classes)),
            confidence=np.full(NUM, 0.8, np.float32), p_wrong=p.astype(np.float32), is_active=np.ones(NUM, bool),
            odds_sd=np.full(NUM, 0.4, np.float32),
            num_calibrated=40, num_dual=0, runs=("first",))
        self.plan: Plan = make_plan(
            audit="spring", run="first", sample_id=self.ids, given=self.given, p_wrong=p.astype(np.float32),
            is_active=np.ones(NUM, bool), classes=classes, seed=0, created=1.7e9)

    def say(self, sample_ids: list[str], who: str = "ada", queue: str = "estimate", purpose: str = "main",
            batch: int | None = None, verdict: str | None = None) -> None:
        """Right answers, or always `verdict`."""
        said = []
        for sample_id in sample_ids:
            row = int(np.flatnonzero(self.ids == sample_id)[0])
            given, truth = (self.scores.classes[codes[row]] for codes in (self.given, self.truth))
            kind = verdict or ("given" if given == truth else "other")
            said.append(Verdict(audit="spring", queue=queue, sample_id=sample_id, verdict=kind, who=who, seconds=4.0,
                                given_label=given, label=truth if kind == "other" else None, purpose=purpose,
                                batch=batch, p_wrong=float(self.scores.p_wrong[row])))
        self.project.verdicts().add(said)

    def verdicts(self) -> pd.DataFrame:
        return self.project.verdicts().in_force("spring")

    def health(self, **more: object) -> dict:
        settings = {"audit": "spring", "generated": 1.76e9} | more
        return health(self.project, self.run, self.scores, self.plan, self.verdicts(), **settings)


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path / "pets", ("cat", "dog", "bird"))


def reviewed(audit: Audit, num: int = 150) -> Audit:
    """The first `num` of the random queue reviewed and in force, twenty of them by two people; one batch found."""
    empty = pd.DataFrame({"sample_id": [], "is_wrong": []})
    ids = draw(audit.plan, empty, num=num)
    audit.say(ids)
    audit.say(ids[:20], "bob", purpose="overlap")
    audit.say([i for i in audit.ids[np.argsort(-audit.scores.p_wrong)] if i not in ids][:10], "bob", "find", batch=0)
    reconcile(audit.project, audit.project.ledger(), audit.ids.tolist(), audit.verdicts(), "ada")
    return audit


def text_of(page: str) -> str:
    """What a reader sees, tags dropped."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


# -- health


def test_the_answer_is_the_estimate_and_stands_first(audit):
    state = reviewed(audit).health()
    noise = estimate(audit.plan, random_verdicts(audit.verdicts()))
    rate = state["rate"]
    assert (rate["share"], rate["low"], rate["high"]) == (noise.overall.share, noise.overall.low, noise.overall.high)
    assert rate["num_early"] == 0
    assert (rate["num_reviews"], rate["num_reviewers"], rate["num_population"]) == (150, 1, NUM)
    assert [c["share"] for c in state["classes"]] == [c.share for c in noise.per_class]
    page = report_html(state)
    said = text_of(page[page.index("<h1>"):])
    assert said.startswith(f"{rate['low']:.1%} to {rate['high']:.1%} of 300 given labels are wrong 95% interval from "
                           "150 reviews of samples drawn at random; the best single figure is "
                           f"{rate['share']:.1%}. That is {rate['low'] * NUM:.0f} to {rate['high'] * NUM:.0f} labels; "
                           "reviewed by 1 person.")
    assert "equal" not in said and "simple random" not in said, "no second measure of how exact it is"


def test_how_far_the_people_agree_whose_answers_came_with_the_data_is_one_line(audit):
    assert audit.health()["annotators"] is None
    pd.DataFrame({"sample_id": ["a", "a", "a", "b", "b"], "annotator": list("12312"), "label": list("xxyyy")}
                 ).to_parquet(audit.project.path / "answers.parquet", index=False)
    state = json.loads(report_json(audit.health()))
    assert state["annotators"]["num_shared"] == 2 and state["annotators"]["alpha"] == pytest.approx(1 / 3)
    assert ("5 answers of 3 people on 2 samples came with the data; two on the same sample agree 50.0% of the time: "
            "Krippendorff's alpha 0.33 (1: perfect, 0: chance).") in text_of(report_html(state))


def test_from_a_few_reviews_the_report_has_an_interval_and_no_single_figure(audit):
    audit.say(draw(audit.plan, pd.DataFrame({"sample_id": [], "is_wrong": []}), num=30))
    state = audit.health()
    rate, noise = state["rate"], estimate(audit.plan, random_verdicts(audit.verdicts()))
    assert rate["share"] is None and rate["num_early"] == 20 and state["corrections"]["remaining"] is None
    said = text_of(report_html(state))
    assert f"{rate['low']:.1%} to {rate['high']:.1%} of 300 given labels are wrong" in said
    assert "95% interval from 30 reviews of samples drawn at random; too early for a single figure: 20 more." in said
    assert f"{noise.overall.share:.1%}" not in said and "best single figure is" not in said
    (total, *_), (share,) = re.findall(r'<svg .*?</svg>', report_html(state), re.S)[1:], [noise.overall.share]
    assert 'class="bar"' in total and "circle" not in total and share is not None


def test_the_ranked_queue_and_hidden_items_never_enter_the_rate(audit):
    before = reviewed(audit).health()["rate"]
    judged = set(audit.verdicts()["sample_id"])
    others = [i for i in audit.ids if i not in judged]
    audit.say(others[:40], "bob", "find", batch=1, verdict="neither")
    audit.say(others[40:50], "bob", purpose="gold", verdict="neither")
    drawn = audit.verdicts().query("queue == 'estimate' and purpose == 'main'")["sample_id"].tolist()
    audit.say(drawn[30:40], "bob", "find", batch=2, verdict="neither")
    assert audit.health()["rate"] == before
    audit.say(drawn[30:33], "bob", "adjudicate", verdict="neither")
    assert audit.health()["rate"] != before, "what settles a dispute of the random queue does"


def test_everything_is_json_and_the_report_is_the_same_from_it(audit):
    indices = (np.arange(NUM)[:, None] + [1, 2]) % NUM
    distances = np.where(np.arange(NUM)[:, None] % 50 == 0, 0.0, 0.5).repeat(2, axis=1).astype(np.float16)
    reviewed(audit)
    state = audit.health(neighbours=(indices, distances), agreement=agreement_part(audit.verdicts()))
    assert "ada and bob" in text_of(report_html(state)) and "Fleiss' kappa over 20 samples" in report_html(state)
    again = json.loads(report_json(state))
    assert report_html(again) == report_html(state)
    assert again["provenance"]["manifest"] == file_digest(audit.project.path / "manifest.parquet")
    assert again["provenance"]["model"] == file_digest(audit.run.path / "config.json")
    assert again["duplicates"]["num_groups"] == 6 and "6 groups" in text_of(report_html(state))
    row = state["matrix"]["rows"][0]
    assert row["num_reviews"] == sum(cell["num_reviewed"] for cell in row["cells"]) > 30


def test_verdicts_taken_back_change_the_digest_of_the_verdicts(audit):
    before = reviewed(audit).health()["provenance"]["verdicts"]
    assert audit.health()["provenance"]["verdicts"] == before
    audit.project.verdicts().retract(3, "ada")
    assert audit.health()["provenance"]["verdicts"] != before


def test_strata_add_up_to_the_reviews(audit):
    verdicts = random_verdicts(reviewed(audit).verdicts())
    rows = strata_part(audit.plan, verdicts)
    assert sum(row["num_reviews"] for row in rows) == 150 and sum(row["num_population"] for row in rows) == NUM
    assert sum(row["num_wrong"] for row in rows) == verdicts["is_wrong"].sum()
    population = audit.plan.population.set_index("sample_id")
    for number, row in enumerate(rows):
        p = population.loc[population["stratum"] == number, "p_wrong"]
        assert p.min() >= np.float32(row["low"]) and p.max() <= np.float32(row["high"])


def found_rows(p: float, wrong: int, num: int = 100) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": [f"s{i}" for i in range(num)], "queue": "find", "purpose": "main", "who": "ada",
                         "batch": 0, "verdict_id": range(num),
                         "p_wrong": p, "is_wrong": pd.Series([i < wrong for i in range(num)], dtype=object)})


@pytest.mark.parametrize(("wrong", "promised"), [(50, "kept"), (40, "kept"), (39, "too much"), (61, "too little")])
def test_a_promise_is_kept_within_what_chance_allows(wrong, promised):
    part = find_part(found_rows(0.5, wrong), num_dual=50)
    assert part is not None and part["promised"] == promised and part["num_wrong"] == wrong
    assert part["expected"] == 50 and (part["low"], part["high"]) == (40, 60)
    assert part["batches"][0]["num_judged"] == 100
    assert find_part(found_rows(0.5, 1).assign(queue="estimate"), num_dual=50) is None
    assert find_part(found_rows(0.5, 1)) is None, "of one batch, begun before any label was known"


def test_what_remains_wrong_is_the_estimate_less_what_was_mended(audit):
    reviewed(audit)
    rows = with_labels(training_rows(audit.project), decided_labels(audit.project))
    num_changed = int(rows["is_changed"].sum())
    assert num_changed > 5
    overall = Rate(share=0.2, low=0.1, high=0.3, num_reviews=150, num_wrong=30, num_population=NUM)
    part = corrections_part(rows, audit.scores.classes, overall, np.ones(NUM, bool))
    assert part["num_changed"] == num_changed and part["num_excluded"] == 0
    assert part["remaining"]["share"] == pytest.approx((0.2 * NUM - num_changed) / NUM)
    assert part["remaining"]["low"] == pytest.approx(max(0, (0.1 * NUM - num_changed) / NUM))
    audit.project.ledger().exclude(audit.ids[:3].tolist(), who="ada", why="blurred")
    rows = with_labels(training_rows(audit.project), decided_labels(audit.project))
    part = corrections_part(rows, audit.scores.classes, overall, np.ones(NUM, bool))
    left = int((rows["is_changed"] & ~rows["is_excluded"]).sum())
    assert part["remaining"]["share"] == pytest.approx((0.2 * NUM - left - 0.2 * 3) / (NUM - 3))
    for row in part["classes"]:
        assert row["given"] - row["moved_out"] + row["moved_in"] - row["excluded"] == row["current"]
    assert corrections_part(rows, audit.scores.classes, None, np.zeros(NUM, bool))["remaining"] is None


# -- the report


class Checker(HTMLParser):
    """Tags in balance, and every attribute seen."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen += [(tag, name, value or "") for name, value in attrs] or [(tag, "", "")]
        if tag not in ("meta", "line", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_runs_nothing(tmp_path):
    audit = reviewed(Audit(tmp_path / "odd", HOSTILE))
    audit.say(audit.ids[:1].tolist(), "<script>alert(3)</script>")
    page = report_html(audit.health(audit="spring"))
    checker = Checker(page)
    assert not checker.open, "every tag is closed"
    tags = {tag for tag, _, _ in checker.seen}
    assert not tags & {"script", "img", "link", "iframe", "object", "form", "a", "base"}
    names = {name for _, name, _ in checker.seen}
    assert not any(name.startswith("on") for name in names) and not names & {"src", "href"}
    assert not re.search(r"https?://|url\(|@import|javascript:", page)
    assert page.count("<style>") == page.count("</style>") == 1
    assert "&lt;script&gt;alert(3)&lt;/script&gt;" in page and "\u202e" not in page
    assert "default-src 'none'" in page and page.isascii()


def test_without_a_single_review_the_page_says_so_and_gives_no_rate(audit):
    state = audit.health()
    said = text_of(report_html(state))
    assert "How many labels are wrong is not known yet" in said and "No one has reviewed yet" in said
    assert not re.search(r"\d% of 300 given", said)
    without = health(audit.project, None, audit.scores, None, audit.verdicts(), audit="spring")
    said = text_of(report_html(without))
    assert "not known yet" in said and "the run has no neighbours" in said and without["rate"] is None


def test_final_and_preliminary_are_told_apart(audit):
    reviewed(audit)
    state = audit.health(goal=new_goal(0.5))
    said = text_of(report_html(state))
    assert (state["rate"]["planned"], state["rate"]["further"], state["rate"]["is_reached"]) == (150, 0, True)
    assert "Final. The precision asked for, \u00b150 points, is reached, judged at 150 reviews as planned" in said
    assert "Preliminary" not in said
    state = audit.health(goal=new_goal(0.005))
    assert (state["rate"]["planned"], state["rate"]["further"], state["rate"]["is_reached"]) == (300, 150, False)
    said = text_of(report_html(state))
    assert "Preliminary. 150 more reviews until it is judged whether \u00b10.5 points is reached." in said
    assert "Final." not in said and UNTIL_THEN in said


def test_what_an_audit_was_begun_under_and_what_was_changed_is_said(audit):
    reviewed(audit)
    changed = new_goal(0.02, (Change(half_width=0.05, num_reviews=70),), "until narrow")
    state = audit.health(goal=changed)
    assert any("begun by an older version" in line for line in state["method"])
    assert any("was \u00b15 points up to review 70, and was made finer then" in line for line in state["limits"])
    plain = audit.health()
    assert any("fixed before the first review" in line for line in plain["method"])
    assert not any("made finer" in line for line in plain["limits"])


def test_few_reviews_show_neither_class_rates_nor_cells(audit):
    audit.say(draw(audit.plan, pd.DataFrame({"sample_id": [], "is_wrong": []}), num=12))
    state = audit.health()
    assert all(c["share"] is None and not c["is_shown"] for c in state["classes"])
    said = text_of(report_html(state))
    assert said.count("too few reviewed") >= 3 and "Not shown: no class has enough reviews yet." in said


def test_of_very_many_classes_the_matrix_shows_the_most_confused(audit):
    state = reviewed(audit).health()
    row = {"name": "cat", "num_population": 9, "num_reviews": 20, "is_shown": True}
    empty = {"num_reviewed": 0, "share": None, "low": None, "high": None}
    rows = [{**row, "name": f"class {i}", "cells": [{**empty, "num_reviewed": int(j == 0 and i >= 25)}
                                                    for j in range(42)]} for i in range(40)]
    page = report_html({**state, "matrix": {**state["matrix"], "rows": rows, "flows": []}})
    page = page[page.index('<table class="matrix">'):page.index("Classes mixed up</h2>")]
    assert page.count("<tr>") == 1 + findings.MAX_MATRIX
    assert f"the {findings.MAX_MATRIX} of 40 classes" in page and "class 39" in page and "class 24" not in page


def test_whiskers_stand_where_their_numbers_are(audit):
    axis = figures.axis_of([0.31, None])
    assert (axis.end, axis.step) == (pytest.approx(0.4), 0.1)
    state = reviewed(audit).health()
    state["rate"] |= {"share": 0.2, "low": 0.1, "high": 0.39}
    state["classes"] = [{**state["classes"][0], "share": 0.2, "low": 0.1, "high": 0.3, "is_shown": True},
                        {**state["classes"][0], "share": None, "low": None, "high": None, "is_shown": False}]
    _, total, drawn, few = re.findall("<svg .*?</svg>", report_html(state), re.S)
    places = [float(x) for x in re.findall(r"M([\d.]+) 8.0 V16.0", drawn)]
    dot = float(re.search(r'cx="([\d.]+)"', drawn).group(1))
    inner = figures.WIDTH - 2 * figures.EDGE
    assert dot == pytest.approx(figures.EDGE + inner / 2, abs=0.06)
    assert places == pytest.approx([figures.EDGE + inner / 4, figures.EDGE + 3 * inner / 4], abs=0.06)
    assert "95% interval 10.0% to 30.0%" in drawn
    assert "circle" not in few and 'class="mark"' in few and total.count("<circle") == 1


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(figures).attempted == 1 and doctest.testmod(figures).failed == 0


def test_a_run_of_another_order_gives_the_same_duplicates(audit):
    indices = (np.arange(NUM)[:, None] + [1]) % NUM
    distances = np.zeros((NUM, 1), np.float16)
    whole = audit.health(neighbours=(indices, distances))["duplicates"]
    order = np.random.default_rng(0).permutation(NUM)
    signals = audit.run.read_signals()
    RunDir(audit.run.path).write_signals(signals.iloc[order].reset_index(drop=True))
    place = np.argsort(order)
    moved = audit.health(neighbours=(place[indices[order]], distances))["duplicates"]
    assert (moved["num_pairs"], moved["num_near"]) == (whole["num_pairs"], whole["num_near"]) and whole["num_pairs"] > 9
    assert moved["groups"][0]["labels"] == whole["groups"][0]["labels"]
