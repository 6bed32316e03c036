"""What others decide meanwhile, in words and on a page that is open."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.project import Project
from curation.views.map import layer as map_layer
from curation.views.map import panel
from curation.views.widgets import others
from tests import views
from tests.fakes import make_project, make_run


@pytest.fixture
def pets(home: Path) -> Project:
    path = make_project(home / "pets")
    make_run(path, "first")
    return Project.open(path)


def batches(*rows: tuple[int, str, str, str | None, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["batch_id", "who", "kind", "value", "num_samples"]).iloc[::-1]


def test_the_news_are_what_others_did_since_a_sentence_each():
    done = batches((1, "bob", "pin", "train", 9), (2, "ada", "pin", "validation", 5),
                   (3, "bob", "exclude", "excluded", 1), (4, "me", "pin", "train", 2),
                   (5, "bob", "relabel", "*cat*", 3), (6, "bob", "undo", "5", 3))
    assert others.news(done, 1, "me") == ["ada decided: pin 5 samples to validation.",
                                          "bob decided: undo decision 5 (3 samples), and 2 decisions before."]
    assert others.news(done, 6, "me") == [] and others.news(done.query("who == 'me'"), 0, "me") == []


def test_a_page_that_is_open_hears_of_it(home, pets, monkeypatch):
    """AppTest has no clock: the watcher's look is taken here as the browser's timer would take it."""
    looks: list[Any] = []
    monkeypatch.setattr(others, "look", looks.append)
    app = views.start(home, "explore", project="pets", run="first")
    assert looks and app.session_state["_seen_decision"] == (str(pets.path), pets.newest.decisions)
    seen = pets.newest.decisions
    pets.ledger().pin(["train-00001"], "validation", who="bob")
    rerun: list[bool] = []
    monkeypatch.undo()
    monkeypatch.setattr(others.st, "session_state", {"_seen_decision": (str(pets.path), seen)})
    monkeypatch.setattr(others.st, "rerun", lambda: rerun.append(True))
    monkeypatch.setattr(others, "PACE", others._Pace())
    others.look(pets)
    assert rerun == [True]
    assert others.st.session_state["_notices"] == [("bob decided: pin 1 sample to validation.", False)]
    others.st.session_state["_seen_decision"] = (str(pets.path), pets.newest.decisions)
    others.look(pets)
    assert rerun == [True], "nothing new, nothing redrawn"


def test_pages_drawn_for_others_leave_the_time_to_those_who_press(pets, monkeypatch):
    """What others did is said at once; the page is drawn anew when it is its turn."""
    now, rerun, said = [100.0], list[float](), list[str]()
    monkeypatch.setattr(others.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(others, "PACE", others._Pace())
    for _ in range(20):
        others.PACE.drew(2.0)
    monkeypatch.setattr(others.st, "session_state", {"_seen_decision": (str(pets.path), pets.newest.decisions)})
    monkeypatch.setattr(others.st, "rerun", lambda: rerun.append(now[0]))
    monkeypatch.setattr(others.st, "toast", lambda text, **_: said.append(text))
    for second in range(12):
        now[0] = 100.0 + 3 * second
        if second < 2:
            pets.ledger().pin([f"train-0000{second}"], "validation", who="bob")
        others.look(pets)
    assert len(said) == 2, "each once, at the look after it"
    assert rerun == [100.0, 112.0, 124.0], "a draw takes two seconds, and eight are left to others"


def test_what_is_made_of_a_table_is_kept_under_the_tables_own_revision(home, pets, monkeypatch):
    """Somebody decides after the page has read its table: what is drawn of the older table must not be what the next
    page finds under the newer revision."""
    make_layer = panel.make_layer

    def meanwhile(*args: Any) -> Any:
        if pets.ledger().revision == 0:
            pets.ledger().exclude(["train-00001"], who="bob")
        return make_layer(*args)

    monkeypatch.setattr(panel, "make_layer", meanwhile)
    app = views.start(home, "explore", project="pets", run="first")
    views.rerun(app)
    token = next(json.loads(c.proto.json)["layer"] for c in app.get("bidi_component") if "layer" in c.proto.json)
    layer = map_layer.kept(token)
    assert layer is not None and set(np.asarray(layer.ids)[layer.marks > 0]) == {"train-00001"}
