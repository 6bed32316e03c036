"""Several people's answers on a sample: long tables and cells of votes, every answer kept or told."""

import json
from pathlib import Path

import pandas as pd
import pytest

from curation.sources.importing import ImportResult, import_project
from curation.sources.reading.votes import votes_in
from engine.contract.disk.seals import has_seal
from engine.contract.manifest import read_info
from tests.picture_files import write_image

LONG = """picture,worker,label,seconds
a.png,ann,cat,1
b.png,ann,dog,1
a.png,bob,cat,2
b.png,bob,cat,1
a.png,eve,dog,1
c.png,eve,dog,1
"""
VOTES = """path,all_answers
a.png,ann:cat;bob:cat;eve:dog
b.png,ann:dog;bob:cat
c.png,eve:dog
"""
EVERY = [("a.png", "ann", "cat"), ("a.png", "bob", "cat"), ("a.png", "eve", "dog"), ("b.png", "ann", "dog"),
         ("b.png", "bob", "cat"), ("c.png", "eve", "dog")]


def imported(folder: Path, text: str, **options: str) -> tuple[ImportResult, pd.DataFrame, list[tuple[str, ...]]]:
    """(what the import did, its samples by id, every answer in order)."""
    for seed, name in enumerate("abc"):
        write_image(folder / f"{name}.png", seed=seed)
    (folder / "t.csv").write_text(text)
    result = import_project("table", folder / "p", root=folder / "t.csv", **options)
    answers = pd.read_parquet(folder / "p" / "answers.parquet")
    rows = pd.read_parquet(folder / "p" / "manifest.parquet").set_index("sample_id")
    return result, rows, sorted(answers.fillna("").itertuples(index=False, name=None))


def kinds(result: ImportResult) -> list[tuple[str, int, str]]:
    found = result.first_problems
    return list(zip(found["kind"], found["row"].astype(int), found["action"], strict=True))


@pytest.mark.parametrize(("text", "options"), [(LONG, {"path_column": "picture"}), (VOTES, {})])
def test_both_forms_give_the_majority_its_figures_and_every_answer(tmp_path, text, options):
    result, rows, answers = imported(tmp_path, text, **options)
    assert kinds(result) == [] and answers == EVERY
    assert rows["given_label"].to_dict() == {"a.png": "cat", "b.png": "cat", "c.png": "dog"}
    assert rows["num_answers"].to_dict() == {"a.png": 3, "b.png": 2, "c.png": 1}
    assert rows["answers_agree"].tolist() == pytest.approx([2 / 3, 1 / 2, 1])
    assert rows["is_tie"].to_dict() == {"a.png": False, "b.png": True, "c.png": False}
    assert any(note.startswith("of 1 sample as many people said another class") for note in result.notes)
    assert has_seal(tmp_path / "p" / "answers.parquet")
    (tmp_path / "t.csv").write_text("path,label\na.png,cat\nb.png,dog\n")
    import_project("table", tmp_path / "p", root=tmp_path / "t.csv")
    assert not (tmp_path / "p" / "answers.parquet").exists()


def test_the_columns_that_differ_between_answers_are_named(tmp_path):
    result, rows, _ = imported(tmp_path, LONG, path_column="picture")
    assert rows["seconds"].to_dict() == {"a.png": 1, "b.png": 1, "c.png": 1} and "worker" not in rows
    assert any(note.endswith("its first row's are kept: seconds") for note in result.notes)


@pytest.mark.parametrize("text", [
    "path,annotator,label,given_label\na.png,1,dog,cat\na.png,2,dog,cat\nb.png,1,dog,dog\n",
    "path,given_label,votes\na.png,cat,1:dog;2:dog\nb.png,dog,1:dog\n"])
def test_the_label_of_the_file_wins_over_the_majority(tmp_path, text):
    _, rows, answers = imported(tmp_path, text)
    assert rows["given_label"].to_dict() == {"a.png": "cat", "b.png": "dog"}
    assert rows["answers_agree"].tolist() == [0, 1] and not rows["is_tie"].any() and len(answers) == 3


def test_ties_go_by_the_order_of_declared_classes_and_odd_answers_are_counted(tmp_path):
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    text = ("path,votes\n" 'a.png,"[""cat"", ""dog"", ""owl""]"\n' 'b.png,"{""ann"": 0, ""bob"": ""=owl""}"\n'
            'c.png,"[oops"\n')
    result, rows, answers = imported(tmp_path, text, classes=str(tmp_path / "classes.txt"))
    assert rows["given_label"].to_dict() == {"a.png": "dog", "b.png": "dog"}
    assert kinds(result) == [("malformed answers", 4, "skipped"), ("unknown answer", 2, "skipped"),
                             ("unknown answer", 3, "skipped"), ("empty class", 2, "kept")] and result.num_lost == 3
    assert answers == [("a.png", "", "cat"), ("a.png", "", "dog"), ("b.png", "ann", "dog")]


def test_an_answer_that_no_sample_has_as_label_is_kept_and_told(tmp_path):
    result, _, answers = imported(tmp_path, "path,label,votes\na.png,cat,1:cat;2:<b>\nb.png,dog,1:dog\n")
    assert kinds(result) == [("unknown answer", 2, "kept")] and ("a.png", "2", "<b>") in answers
    assert read_info(tmp_path / "p").classes == ("cat", "dog")


def test_every_row_of_a_long_table_is_an_answer_or_told(tmp_path):
    text = ("path,annotator,label\na.png,1,cat\na.png,2,dog\na.png,2,cat\na.png,,cat\na.png,3,\n,1,cat\n"
            "b.png,1,dog\nc.png,1,dog\nb.png,2,dog\n")
    result, rows, answers = imported(tmp_path, text)
    assert sorted(kinds(result)) == [("duplicate key", 4, "skipped"), ("missing label", 6, "skipped"),
                                     ("missing path", 7, "skipped")]
    assert rows["num_answers"].sum() + result.num_lost == 9 == len(answers) + 3
    assert ("a.png", "", "cat") in answers and rows["given_label"].tolist() == ["cat", "dog", "dog"]


def test_an_answer_of_nobody_is_not_taken_for_one_on_another_sample(tmp_path):
    text = "path,worker,label\na.png,ann,cat\nb.png,,dog\na.png,bob,cat\nb.png,ann,dog\n"
    result, _, answers = imported(tmp_path, text)
    assert kinds(result) == []
    assert answers == [("a.png", "ann", "cat"), ("a.png", "bob", "cat"), ("b.png", "", "dog"), ("b.png", "ann", "dog")]


@pytest.mark.parametrize("text", [
    'path,label,votes\na.png,1,1\nb.png,0,0;1;0\n',
    "path,label,answer,worker\na.png,1,1,\nb.png,0,0,ann\nb.png,0,1,bob\nb.png,0,0,eve\n"])
def test_numbers_of_answers_are_classes_whatever_these_are_called(tmp_path, text):
    (tmp_path / "names.txt").write_text("cat\ncoat: red; dog\n")
    result, _, answers = imported(tmp_path, text, classes=str(tmp_path / "names.txt"))
    assert result.first_problems.empty
    assert [(name, label) for name, _, label in answers] == [
        ("a.png", "coat: red; dog"), ("b.png", "cat"), *([("b.png", "cat"), ("b.png", "coat: red; dog")]
                                                        if "votes" in text else
                                                        [("b.png", "coat: red; dog"), ("b.png", "cat")])]


def test_repeated_pictures_without_several_people_stay_repeats(tmp_path):
    for text in ("path,label\na.png,cat\na.png,dog\nb.png,dog\n",
                 "path,user,label\na.png,1,cat\na.png,1,dog\nb.png,2,dog\n"):
        for name in "ab":
            write_image(tmp_path / f"{name}.png", seed=ord(name))
        (tmp_path / "t.csv").write_text(text)
        result = import_project("table", tmp_path / "p", root=tmp_path / "t.csv")
        assert kinds(result) == [("duplicate key", 3, "skipped")] and not (tmp_path / "p" / "answers.parquet").exists()


def test_answers_of_repeats_and_of_samples_that_do_not_load_are_left_out(tmp_path):
    result, rows, answers = imported(tmp_path, VOTES + "gone.png,ann:dog;bob:dog\na.png,zed:dog\n")
    assert result.num_lost == 2 and len(rows) == 3 and answers == EVERY


@pytest.mark.parametrize(("cell", "votes"), [
    ("21:coast;37:coast;", [("21", "coast"), ("37", "coast")]), ("a;b", [(None, "a"), (None, "b")]),
    ("7: a:b ", [("7", "a:b")]), (json.dumps(["x", 3, 2.0]), [(None, "x"), (None, "3"), (None, "2")]),
    ('{"1": "x", "1": "y"}', [("1", "x"), ("1", "y")]), (json.dumps([["w", "x"]]), [("w", "x")]),
    (json.dumps([{"worker_id": 5, "label": "x"}]), [("5", "x")]), ('["\\ud800"]', [(None, "\\ud800")]), ("[]", []),
    ("", None), ("1:;2:x", None), ("[true]", None), ('[{"x": 1}]', None), ("[[1, 2, 3]]", None), ("[" * 5000, None)])
def test_a_cell_of_votes_is_read_or_refused(cell, votes):
    assert votes_in(cell) == votes
