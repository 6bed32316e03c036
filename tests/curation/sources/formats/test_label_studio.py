"""Label Studio's JSON: choices of images with who answered; anything else is refused or counted."""

import json
from pathlib import Path

import pytest

from curation.sources.importing import import_project
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import read_manifest
from tests.curation.sources.formats.pictures import picture


def answer(label: str | None, by: object = 1, **more: object) -> dict[str, object]:
    result = [] if label is None else [{"type": "choices", "from_name": "kind", "to_name": "image",
                                        "value": {"choices": [label]}}]
    return {"id": 1, "completed_by": by, "result": result, "was_cancelled": False, "ground_truth": False,
            "created_at": "2026-01-02T03:04:05Z", "lead_time": 2.5, **more}


def export(folder: Path, tasks: list[tuple[str, list[dict[str, object]]]], **more: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made = [{"id": idx, "data": {"image": image, "shop": "north"}, "annotations": annotations, "drafts": [], **more}
            for idx, (image, annotations) in enumerate(tasks)]
    (folder / "export.json").write_text(json.dumps(made))
    return folder / "export.json"


def test_choices_with_author_time_and_text_as_it_stands(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "images" / name)
    email = {"id": 4, "email": "ada@example.org"}
    export(tmp_path, [("/data/upload/3/0a1b2c3d-a.png", [answer('Да "x"\ty', email)]),
                      ("/data/upload/3/99999999-b.png", [answer("<b>", 7)])])
    assert recognise(tmp_path)[0].source == "labelstudio"
    import_project("labelstudio", tmp_path / "p", root=tmp_path / "export.json")
    rows = read_manifest(tmp_path / "p")
    assert rows[["path", "given_label", "answered_by", "answered_at", "answer_seconds", "shop"]].values.tolist() == [
        ["images/a.png", 'Да "x"\ty', "ada@example.org", "2026-01-02T03:04:05Z", 2.5, "north"],
        ["images/b.png", "<b>", "7", "2026-01-02T03:04:05Z", 2.5, "north"]]


def test_local_files_are_found_and_remote_ones_said(tmp_path: Path) -> None:
    for name in ("photos/a b.png", "photos/c.png"):
        picture(tmp_path / name)
    export(tmp_path, [("/data/local-files/?d=photos/a%20b.png", [answer("x")]),
                      ("/data/local-files/?d=photos/c.png", [answer("y")]), ("s3://bucket/d.png", [answer("y")])])
    result = import_project("labelstudio", tmp_path / "p", root=tmp_path)
    assert read_manifest(tmp_path / "p")["path"].tolist() == ["photos/a b.png", "photos/c.png"]
    assert result.problem_kinds == {"remote image": 1}


def test_of_several_answers_the_most_count_and_cancelled_ones_do_not(tmp_path: Path) -> None:
    for name in "abcd":
        picture(tmp_path / f"{name}.png")
    export(tmp_path, [
        ("a.png", [answer("x", "ada"), answer("y", "bob"), answer("y", "eve")]),
        ("b.png", [answer("y", "bob"), answer("x", "ada")]),  # a tie: who said the label that counts
        ("c.png", [answer("x", "ada", was_cancelled=True), answer(None), answer("y", "eve", ground_truth=True)]),
        ("d.png", [answer("z", was_cancelled=True)])], drafts=[{"id": 1}])
    result = import_project("labelstudio", tmp_path / "p", root=tmp_path)
    rows = read_manifest(tmp_path / "p")
    columns = ["given_label", "answered_by", "num_answers", "is_tie", "clean_label"]
    assert rows[columns].astype(object).where(rows[columns].notna(), None).values.tolist() == [
        ["y", "bob", 3, False, None], ["x", "ada", 2, True, None], ["y", "eve", 1, False, "y"]]
    assert result.problem_kinds == {"missing label": 1}
    text = "; ".join(result.notes)
    assert "4 drafts left out" in text and "2 cancelled annotations left out" in text
    assert "1 annotation without choice left out" in text
    assert "6 answers on 3 samples" in text and "of 1 sample as many people said another class" in text


def test_the_short_form_and_a_named_control(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "short.json").write_text(json.dumps([
        {"id": 1, "image": "a.png", "quality": "x", "annotator": 3, "annotation_id": 9, "lead_time": 1.5},
        {"id": 2, "image": "b.png", "quality": "y", "annotator": 3, "annotation_id": 10, "lead_time": 1}]))
    import_project("labelstudio", tmp_path / "p", root=tmp_path / "short.json")
    assert read_manifest(tmp_path / "p")["given_label"].tolist() == ["x", "y"]
    two = answer("x")
    two["result"] = [*two["result"], {"type": "choices", "from_name": "light", "value": {"choices": ["dark"]}}]  # type: ignore[misc]
    file = export(tmp_path, [("a.png", [two]), ("b.png", [answer("y")])])
    result = import_project("labelstudio", tmp_path / "q", root=file, choice="kind")
    assert result.num_loaded == 2
    with pytest.raises(SourceError, match="several labels"):
        import_project("labelstudio", tmp_path / "r", root=file)


@pytest.mark.parametrize(("task", "match"), [
    ({"data": {"text": "a b c"}, "annotations": [answer("x")]}, "their data name no image"),
    ({"data": {"image": "a.png"}, "annotations": [{"result": [{"type": "rectanglelabels", "value": {}}]}]},
     "the results are of type rectanglelabels"),
    ({"data": {"image": "a.png"}, "annotations": []}, "no annotation has a choice")])
def test_other_types_are_refused_in_words(tmp_path: Path, task: dict[str, object], match: str) -> None:
    (tmp_path / "t.json").write_text(json.dumps([task]))
    with pytest.raises(SourceError, match=match):
        import_project("labelstudio", tmp_path / "p", root=tmp_path / "t.json")


def test_odd_values_cost_their_task_alone(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    file = export(tmp_path, [("a.png", [answer("x")]), ("b.png", [answer("y")])])
    tasks = json.loads(file.read_text())
    tasks += [None, 3, {"data": 5, "annotations": []},
              {"data": {"image": "c.png"}, "annotations": [{"result": 4}, None]}]
    file.write_text(json.dumps(tasks))
    result = import_project("labelstudio", tmp_path / "p", root=file)
    assert result.num_loaded == 2 and result.problem_kinds == {"no image": 3, "missing label": 1}
