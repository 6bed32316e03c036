"""Where jobs run, as it is chosen beside what starts one."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from curation.views.runs.place import place_words
from engine.contract.cluster.place import Place, choose_place, place_of
from engine.contract.settings import ConfigError
from tests.fakes import make_project


def _page() -> None:
    import os

    import streamlit as st

    from curation.project import Project
    from curation.views.runs.place import show_place

    show_place(Project.open(os.environ["WHETSTONE_PLACE_OF"]), "form.")
    st.caption("end")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = make_project(tmp_path / "pets", size=4)
    monkeypatch.setenv("WHETSTONE_PLACE_OF", str(path))
    monkeypatch.setattr("engine.contract.cluster.slurm.is_here", lambda: True)
    return path


def page() -> AppTest:
    return AppTest.from_function(_page, default_timeout=20).run()


def box(at: AppTest, kind: str, label: str):
    return next(widget for widget in getattr(at, kind) if widget.label.startswith(label))


def test_nothing_is_asked_where_there_is_no_slurm(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.contract.cluster.slurm.is_here", lambda: False)
    assert not page().selectbox
    choose_place(project, Place(where="slurm"))
    assert page().selectbox, "a project that was left so can be brought back"


def test_each_choice_is_kept_whatever_was_chosen_before(project: Path) -> None:
    at = page()
    box(at, "selectbox", "Runs on").select("slurm").run()
    box(at, "number_input", "Memory").set_value(64).run()
    box(at, "text_input", "Partition").set_value(" short ").run()
    box(at, "number_input", "GPUs").set_value(2).run()
    assert place_of(project) == Place(where="slurm", memory=64, partition="short", gpus=2) and not at.exception
    box(at, "text_input", "Memory").set_value("").run()
    box(at, "selectbox", "Runs on").select("here").run()
    assert place_of(project) == Place(partition="short", gpus=2) and not at.toast and not at.exception


def test_what_is_refused_is_said_and_stands_in_nobodys_way(project: Path) -> None:
    choose_place(project, Place(where="slurm"))
    at = page()
    box(at, "text_input", "Partition").set_value("a; rm b").run()
    assert "partition must be one word" in at.toast[0].value and place_of(project).partition is None
    box(at, "number_input", "Nodes").set_value(2).run()
    assert place_of(project).nodes == 2


def test_what_somebody_else_chose_meanwhile_stays(project: Path) -> None:
    choose_place(project, Place(where="slurm"))
    at = page()
    choose_place(project, Place(where="slurm", gpus=4))
    box(at, "number_input", "Time limit").set_value(60).run()
    assert place_of(project) == Place(where="slurm", gpus=4, minutes=60)


def test_a_damaged_place_is_said_in_a_line(project: Path) -> None:
    (project / "place.json").write_text("{")
    assert "must hold where jobs run" in page().error[0].value
    with pytest.raises(ConfigError):
        place_of(project)


@pytest.mark.parametrize("values", [{"partition": "a b"}, {"account": "a\n#SBATCH --x"}, {"minutes": 1}, {"gpus": -1},
                                    {"where": "moon"}, {"constraint": "$(x)"}, {"partition": "-x"}])
def test_nothing_but_words_and_numbers_in_range_reaches_sbatch(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Place.of_dict(values)


def test_a_constraint_may_be_as_slurm_has_it() -> None:
    assert Place(constraint="[rack1|rack2]&gpu*2").constraint


def test_what_is_asked_in_words() -> None:
    assert place_words(Place(where="slurm", nodes=2, gpus=4, cpus=3, minutes=1_000, partition="long", runs_at_once=1)) \
        == ("A job asks partition long for 2 nodes of 4 GPUs and 12 CPU cores, for 1,000 minutes. A study trains 1 run "
            "at once, each with 1 GPU and 3 CPU cores.")
    assert "for 4 CPU cores, for 240 minutes" in place_words(Place())
