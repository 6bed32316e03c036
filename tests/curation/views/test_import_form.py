"""The import at the top of the Data page: look around, preview, hold out, import; a zip; refusals in its own words."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.testing.v1 import AppTest

from curation.jobs import feature_jobs
from curation.project import Project
from curation.sources.unzip import unpack
from curation.views.data import browse, import_form
from curation.views.data.preview import as_sentence
from tests import views
from tests.fakes import make_project


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WHETSTONE_ROOTS", str(tmp_path / "data"))
    return tmp_path / "projects"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Features that were asked for; none are made."""
    found: list[Any] = []
    monkeypatch.setattr(feature_jobs, "submit", lambda *arguments: found.append(arguments))
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "My photos"
    for label, red in (("cat", 200), ("<b>dog", 20)):
        (folder / label).mkdir(parents=True)
        for idx in range(20):
            Image.new("RGB", (6, 6), (red, idx, 0)).save(folder / label / f"{idx}.png")
    return folder


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click()
    return views.rerun(app)


def test_from_a_folder_by_clicks_to_a_project_with_splits(home: Path, photos: Path, asked: list[Any]) -> None:
    app = views.start(home, "data", timeout=60)
    assert "Begin here" in views.texts(app)
    app = press(app, "import.entry.My photos")
    assert app.selectbox(key=f"import.way.{photos}").value == 0 and not home.exists()
    app = press(app, "import.preview_it")
    said = views.texts(app)
    assert "Samples 40" in said and "Train 28" in said and "Clean 4" in said and "Test 8" in said
    assert "held out by this import, at random by class" in said.replace("\\", "") and not home.exists()
    pictures = [h.proto.body for h in app.get("html") if "data:image/" in h.proto.body]
    assert len(pictures) == 1 and pictures[0].count("<img") == 12 and "&lt;b&gt;dog" in pictures[0]
    assert app.text_input(key=f"import.name.{photos}").value == "My-photos"
    app = press(app, "import.start")
    assert app.selectbox(key="project").value == "My-photos"
    project = Project.open(home / "My-photos")
    rows = project.manifest()
    assert pd.crosstab(rows["given_label"], rows["split"]).loc["cat"].to_dict() == {"clean": 2, "test": 4, "train": 14}
    assert project.details["held_out"] == {"test_frac": 0.2, "clean_frac": 0.1, "together": None, "seed": 0,
                                           "splits": ["test", "clean"]}
    assert [arguments[0] for arguments in asked] == [project.path]
    assert "Clean and Test: held out, labels as given" in views.texts(app) and project.held_out == ("test", "clean")
    assert not app.expander[0].proto.expanded, "the form is out of the way"


def test_nothing_is_held_out_where_that_is_asked_for(home: Path, photos: Path, asked: list[Any]) -> None:
    app = views.start(home, "data", timeout=60)
    app = press(press(app, "import.entry.My photos"), "import.preview_it")
    app.number_input(key="import.test_percent").set_value(0)
    app.number_input(key="import.clean_percent").set_value(0)
    app.checkbox(key="import.features").set_value(False)
    app = views.rerun(app)
    assert "Nothing is held out" in views.texts(app) and "Train 40" in views.texts(app)
    app = press(app, "import.start")
    assert set(Project.open(home / "My-photos").manifest()["split"]) == {"train"} and not asked


def test_columns_of_a_table_are_picked_and_senders_kept_together(home: Path, photos: Path) -> None:
    lines = [f"cat/{idx}.png,{'cat' if idx % 2 else 'dog'},sender {idx // 2}\n" for idx in range(20)]
    (photos / "list.csv").write_text("where,what,sender\n" + "".join(lines))
    app = views.start(home, "data", timeout=60)
    app = press(app, "import.entry.My photos")
    app.selectbox(key=f"import.way.{photos}").set_value(1)
    app = press(views.rerun(app), "import.preview_it")
    assert "needs a column of image paths" in app.error[0].value.replace("\\", "")
    assert "--" not in app.error[0].value.replace("\\", ""), "no flags of the command line"
    file = photos / "list.csv"
    app.selectbox(key=f"import.path_column.{file}").set_value("where")
    app.selectbox(key=f"import.label_column.{file}").set_value("what")
    app = views.rerun(app)
    assert not app.error and "Samples 20" in views.texts(app)
    app.text_input(key="import.table.image_root").set_value("/etc")
    assert "lies outside" in views.rerun(app).error[0].value
    app.text_input(key="import.table.image_root").set_value("")
    app = views.rerun(app)
    (together,) = [box for box in app.selectbox if box.label == "Kept together"]
    assert together.options == ["(none)", "sender"]
    together.set_value("sender")
    app = press(views.rerun(app), "import.start")
    rows = Project.open(home / "My-photos").manifest()
    assert rows.groupby("sender")["split"].nunique().max() == 1 and set(rows["split"]) == {"train", "clean", "test"}


def test_imported_again_with_more_pictures_what_was_held_out_stays_so(home: Path, photos: Path) -> None:
    app = views.start(home, "data", timeout=60)
    app = press(press(press(app, "import.entry.My photos"), "import.preview_it"), "import.start")
    was = Project.open(home / "My-photos").manifest().set_index("sample_id")["split"]
    for idx in range(20, 40):
        Image.new("RGB", (6, 6), (0, idx, 9)).save(photos / "cat" / f"{idx}.png")
    app = views.start(home, "data", timeout=60)

    def opened() -> AppTest:
        app.session_state["import.open"] = True  # AppTest forgets it, a browser does not
        return views.rerun(app)

    assert opened().text_input(key="import.root").value == str(photos), "one looks where one imported from last"
    app.button(key="import.preview_it").click()
    opened().text_input(key=f"import.name.{photos}").set_value("My-photos")
    opened().checkbox(key="import.replace").set_value(True)
    app = opened()
    said = views.texts(app)
    assert "What this project holds out stays held out" in said and "Some can be held out now" not in said
    assert "8 kept as they were, 4 drawn among 20 new samples" in views.texts(app)
    app.button(key="import.start").click()
    opened()
    rows = Project.open(home / "My-photos").manifest().set_index("sample_id")["split"]
    assert rows[was.index].tolist() == was.tolist() and len(rows) == 60


@pytest.mark.parametrize(("path", "words"), [
    ("/etc", "lies outside; move the data there"), ("photos", "must be named by an absolute path"),
    ("/nowhere/at/all", "there is none at /nowhere/at/all")])
def test_places_are_refused_in_one_line_in_the_open(home: Path, photos: Path, path: str, words: str) -> None:
    app = views.start(home, "data")
    app.text_input(key="import.root").set_value(path)
    app = views.rerun(app)
    assert words in app.error[0].value.replace("\\", "") and not home.exists()
    app = press(app, "import.entry.My photos")
    assert not app.error and app.text_input(key="import.root").value == str(photos), "one looks on from the start"


def test_a_bad_name_and_a_taken_one_are_refused(home: Path, photos: Path) -> None:
    make_project(home / "pets")
    before = (home / "pets" / "manifest.parquet").read_bytes()
    assert import_form._refusal("../evil", False).startswith("Name of the project: a name must be")
    assert "already" in import_form._refusal("pets", False) and not import_form._refusal("pets", True)
    assert import_form._refusal("new", False) == ""
    assert (home / "pets" / "manifest.parquet").read_bytes() == before


def test_with_a_project_the_form_is_a_click_away_at_the_top(home: Path, photos: Path) -> None:
    make_project(home / "pets")
    app = views.start(home, "data")
    assert app.expander[0].label == "Add a data set" and not app.expander[0].proto.expanded
    assert not [box for box in app.text_input if box.key == "import.root"], "nothing of it is worked out"


def dropped(photos: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """The zip of a folder, unpacked where the form unpacks it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, path.relative_to(photos.parent))
    buffer.seek(0)
    place = unpack(buffer, home / browse.UPLOADS / "abc").folder
    monkeypatch.setattr(import_form, "dropped_place", lambda: place)
    return place


def test_a_zip_becomes_a_project_that_holds_its_images(home: Path, photos: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    place = dropped(photos, monkeypatch, home)
    app = views.start(home, "data", timeout=60)
    app.segmented_control(key="import.where").set_value(import_form.PLACES[1])
    app = press(views.rerun(app), "import.preview_it")
    assert "Samples 40" in views.texts(app) and place.is_dir()
    app.text_input(key=f"import.name.{place}").set_value("zipped")
    app = press(views.rerun(app), "import.start")
    project = Project.open(home / "zipped")
    assert project.root == home / "zipped" / "data" / "My photos" and len(project.manifest()) == 40
    assert project.info.root == "data/My photos", "a copied project keeps its images"
    assert not place.exists()


@pytest.mark.parametrize("is_written", [False, True])
def test_a_zip_goes_back_where_the_page_is_left_before_all_is_written(home: Path, photos: Path, is_written: bool,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    place = dropped(photos, monkeypatch, home)
    before = sorted(home.rglob("*"))

    def left(done: int, total: int, message: str) -> None:
        if not is_written or (home / "zipped" / "manifest.parquet").exists():
            raise StopException  # as Streamlit ends a script at its next call

    monkeypatch.setattr(import_form, "reporter", lambda bar: left)
    asked = import_form.Asked("imagefolder", place / "My photos", {}, None)
    with pytest.raises(StopException):
        import_form._imported(asked, home / "zipped", "none", None)
    if is_written:
        assert len(Project.open(home / "zipped").manifest()) == 40 and not place.exists()
    else:
        assert sorted(home.rglob("*")) == before


def test_a_zip_of_which_nothing_loads_leaves_no_project(home: Path, photos: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    place = dropped(photos, monkeypatch, home)
    app = views.start(home, "data", timeout=60)
    app.segmented_control(key="import.where").set_value(import_form.PLACES[1])
    app = press(views.rerun(app), "import.preview_it")
    for path in place.rglob("*.png"):
        path.write_bytes(b"no picture")
    app.text_input(key=f"import.name.{place}").set_value("zipped")
    app = press(views.rerun(app), "import.start")
    assert "Nothing was imported" in app.error[0].value and place.is_dir() and not (home / "zipped").exists()


def test_columns_of_several_peoples_answers_are_picked(home: Path, photos: Path) -> None:
    lines = [f"cat/{idx}.png,{'cat' if idx % 2 else 'dog'},cat,{'dog' if idx % 4 else ''}\n" for idx in range(20)]
    (photos / "list.csv").write_text("path,ann,bob,eve\n" + "".join(lines))
    app = views.start(home, "data", timeout=60)
    app = press(app, "import.entry.My photos")
    app.selectbox(key=f"import.way.{photos}").set_value(1)
    app = press(views.rerun(app), "import.preview_it")
    file = photos / "list.csv"
    app.multiselect(key=f"import.answers_column.{file}").set_value(["ann", "bob", "eve"])
    app = views.rerun(app)
    assert not app.error and "55 answers on 20 samples" in views.texts(app).replace("\\", "")
    app = press(app, "import.start")
    project = Project.open(home / "My-photos")
    rows = project.manifest().set_index("sample_id")
    assert rows["given_label"].value_counts().to_dict() == {"cat": 15, "dog": 5}
    assert rows["num_answers"].sum() == 55 and (project.path / "answers.parquet").exists()


def test_a_note_that_begins_with_a_name_keeps_it_and_a_refusal_leaves_no_bar(home: Path, photos: Path) -> None:
    assert as_sentence("image_info.json: two") == "image_info.json: two." and as_sentence("two") == "Two."
    (photos / "odd.csv").write_text("where,what\n")
    app = views.start(home, "data", timeout=60)
    app.text_input(key="import.root").set_value(str(photos / "odd.csv"))
    app = press(views.rerun(app), "import.preview_it")
    assert app.error and not app.get("progress")
