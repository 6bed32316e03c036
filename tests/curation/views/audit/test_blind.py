"""A sample that is drawn for an estimate and not judged yet tells the model's opinion of it on no page and in no file.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from curation.__main__ import main
from curation.audit.estimate.sampling_plan import load_plan
from curation.audit.report.health import health
from curation.audit.reviews import batch_files, batches
from curation.audit.reviews.batch_files import newest
from curation.audit.reviews.blinding import OPINION, WHY_BLIND, blind_ids, blind_words, without_opinion
from curation.exports.curated import curated_validation, describe
from curation.ledger.verdicts import VerdictLog
from curation.project import Project
from curation.samples.table import sample_table, samples
from curation.views import scored
from curation.views.audit import at_hand
from curation.views.sample import dialog
from curation.views.widgets import pins
from curation.views.widgets.shown import shown_samples
from tests import views
from tests.curation.views.audit.test_page import Reviewer, in_hand
from tests.curation.views.test_triage import gallery


@pytest.fixture
def ada(home: Path, pets: Project, monkeypatch: pytest.MonkeyPatch) -> Reviewer:
    """At Estimate, with 90 of the 300 samples drawn for her."""
    monkeypatch.setitem(batches.estimate_served.__kwdefaults__, "size", 90)
    found = Reviewer(home, monkeypatch, "Estimate")
    found.app.button(key="audit.draw").click()
    views.rerun(found.app)
    return found


def drawn(project: Project) -> list[str]:
    return [q.sample_id for q in in_hand(project, "estimate").questions if q.purpose == "main"]


def blind(project: Project) -> frozenset[str]:
    return blind_ids(project, project.verdicts().in_force())


def files(project: Project) -> list[Path]:
    return batch_files.estimate_files(project.path)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text("{")])
def test_what_is_drawn_stays_blind_though_its_file_is_lost_until_it_is_settled_or_let_go_of(
        pets: Project, ada: Reviewer, home: Path, spoil: Callable[[Path], object],
        capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = drawn(pets)
    ada.press("verdict", first, "given")
    (file,) = files(pets)
    spoil(file)
    assert blind(pets) == set(rest) and len(rest) > 80
    triage = views.start(home, "triage")
    assert blind_words(len(rest)) in views.texts(triage) and "may have been drawn" not in views.texts(triage)
    assert not set(rest) & {item["id"] for item in gallery(triage)["items"]}
    audit = at_hand.audit_of(pets, pets.run("first"), "audit")
    assert at_hand.drawn(audit) == {first, *rest}, "Find goes on without them"
    capsys.readouterr()
    assert main(["doctor", str(pets.path)]) == 2
    said = capsys.readouterr().out
    assert f"broken: draw {file.relative_to(pets.path)}: lost or damaged; {len(rest) + 1} samples drawn in it for ada" \
        in said and f"{len(rest)} of them not judged, which stay blind" in said

    assert main(["estimate", str(pets.path), "--release"]) == 0
    assert f"audit: {len(rest)} drawn samples let go of" in capsys.readouterr().out and not blind(pets)
    assert not scored.blind(pets).ids, "on pages as well"
    assert main(["estimate", str(pets.path), "--release"]) == 0
    assert "audit: no draw is lost" in capsys.readouterr().out
    file.unlink(missing_ok=True)
    assert main(["doctor", str(pets.path)]) == 0


def test_the_same_samples_are_drawn_again_where_a_batch_is_lost(pets: Project, ada: Reviewer) -> None:
    before = set(drawn(pets))
    (file,) = files(pets)
    file.unlink()
    ada.show("Find"), ada.show("Estimate")
    assert set(drawn(pets)) == before == blind(pets)


def test_draws_of_older_code_are_noted_with_the_next_one(pets: Project, ada: Reviewer, home: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    before, older = set(drawn(pets)), pets.verdicts().draws()
    Path(pets.database).unlink()
    assert not pets.verdicts().draws() and blind(pets) == before, "the file tells"
    Reviewer(home, monkeypatch, "Estimate", who="bob")
    assert {draw.batch for draw in pets.verdicts().draws()} > {draw.batch for draw in older}
    for file in files(pets):
        file.unlink()
    assert blind(pets) > before


def test_where_a_batch_that_the_log_does_not_know_is_damaged_all_that_may_be_drawn_is_blind(
        pets: Project, ada: Reviewer, home: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VerdictLog, "draws", lambda log: [])  # of older code
    first, second, *rest = drawn(pets)
    assert blind(pets) == {first, second, *rest} and len(rest) > 80
    ada.press("verdict", first, "given")
    assert blind(pets) == {second, *rest}
    assert in_hand(pets, "estimate") == newest(pets.path, "audit", "estimate", "ada")
    for file in (pets.path / "audits").glob("*/batches/estimate-*.json"):
        file.write_text("{")
    population = set(load_plan(pets.path, "audit").population["sample_id"])
    assert blind(pets) == population - {first} > {second, *rest}
    assert main(["triage", str(pets.path), "--run", "first"]) == 0
    out, err = capsys.readouterr()
    assert "not shown: a batch must be as it was written; " in err and blind_words(len(population) - 1) in out
    triage = views.start(home, "triage")
    assert "every sample that may have been drawn is hidden" in views.texts(triage)
    (pets.path / "audits" / "audit" / "plan.json").unlink()
    assert blind(pets) == set(pets.manifest()["sample_id"]) - {first}


def test_a_table_without_opinion_keeps_all_others_and_their_types(pets: Project) -> None:
    table = samples(pets, pets.run("first"))
    hidden = without_opinion(table, {"train-00003"})
    before, after = table.pandas(), hidden.pandas()
    rows = before["sample_id"] == "train-00003"
    there = [name for name in OPINION if name in table]
    assert len(there) > 8 and after.loc[rows, there].isna().all(axis=None)
    pd.testing.assert_frame_equal(after[~rows], before[~rows], check_dtype=False)
    assert without_opinion(table, ()).frame.equals(table.frame)


def test_no_page_tells_the_models_opinion_of_it(home: Path, pets: Project, ada: Reviewer) -> None:
    ids, run = set(drawn(pets)), pets.run("first")
    before = sample_table(pets, run).set_index("sample_id")
    suspects = [i for i in ids if isinstance(before["suggested_label"][i], str)]
    assert suspects, "the run has an opinion of some"
    triage = views.start(home, "triage")
    assert not ids & {item["id"] for item in gallery(triage)["items"]}
    assert blind_words(len(ids)) in views.texts(triage)
    explore = views.start(home, "explore")
    cards = [item for item in gallery(explore)["items"] if item["id"] in ids]
    assert all(item["suggestion"] is None and "quality:" not in item["tip"] for item in cards)
    whole = shown_samples(pets, run).pandas().set_index("sample_id")
    assert whole.loc[sorted(ids), [name for name in OPINION if name in whole]].isna().all(axis=None)
    explore.session_state[dialog.OPEN_KEY] = suspects[0]
    views.rerun(explore)
    said = views.texts(explore)
    assert WHY_BLIND in said and "Why it is, or is not" not in said and "Nearest neighbours" not in said
    assert not any("Held-out probabilities" in part.proto.body for part in explore.get("html"))
    assert not set(pins.suspects_among(pets, run, list(before.index))) & ids, "no question before a pin, no count"


def test_audits_own_ways_in_name_none_of_it(pets: Project, ada: Reviewer) -> None:
    ids = set(drawn(pets))
    audit = at_hand.audit_of(pets, pets.run("first"), "audit")
    found, table = at_hand.scores_now(audit), audit.table
    cells = [(given, true) for given in range(3) for true in range(3) if given != true]
    every = [i for cell in cells for i in found.samples.ids(at_hand.rows_of_cell(found, *cell, 0.0))]
    shown = [i for cell in cells for i in found.samples.ids(at_hand.rows_of_cell(found, *cell, 0.0, blind(pets)))]
    assert set(every) & ids and shown and not set(shown) & ids
    near = at_hand.duplicates_of(audit)
    assert near is not None
    assert not ids & set(table.ids(near[1][near[0].members]))
    report = health(pets, audit.run, found, at_hand.plan_of(audit), audit.verdicts, audit="audit",
                    neighbours=audit.run.read_neighbours())
    assert not [i for i in ids if f"'{i}'" in str(report["duplicates"])]
    matrix = views.texts(ada.show("Noise matrix"))
    assert "drawn for an estimate" in matrix
    assert not ids & set(scored.chances(pets, audit.run, table, range(len(table)), audit.revision))


def test_files_written_meanwhile_leave_it_out(pets: Project, ada: Reviewer, tmp_path: Path, capsys) -> None:
    ids, run = set(drawn(pets)), pets.run("first")
    curated = curated_validation(pets, run)
    rows = curated.frame[curated.frame["sample_id"].isin(ids)]
    assert len(rows) == curated.num_blind > 0
    assert rows[[name for name in OPINION if name in rows]].isna().all(axis=None)
    assert WHY_BLIND.partition(":")[0] in describe(pets, curated, "", curated.class_counts)
    out = tmp_path / "queue.csv"
    assert main(["triage", str(pets.path), "--run", "first", "--out", str(out)]) == 0
    assert blind_words(len(ids)) in capsys.readouterr().out and not set(pd.read_csv(out)["sample_id"]) & ids
