"""A file of answers that went through a spreadsheet: every verdict on its own sample, or a refusal; never fewer with
status 0, never another sample's."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.exit_status import DONE, REFUSED
from curation.project import Project
from tests.curation.cases.bring import bring, command
from tests.fakes import make_run
from tests.picture_files import write_image

CLASSES = ["true", "NA", "-none", "=x", "café"]
IDS = ["007", "7", "1E5", "1-2", "0012", "12", "1e5", "TRUE", "03/04", "1.0"]


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]]]:
    """(a project whose ids a spreadsheet retypes, the rows of a drawn file with an answer in each)."""
    home = tmp_path_factory.mktemp("answers")
    lines = ["id,path,label"]
    for idx in range(40):
        write_image(home / "data" / f"{idx}.png", seed=idx, size=4)
        lines.append(f"{(IDS + [f'k{n}' for n in range(30)])[idx]},{idx}.png,{CLASSES[idx % 5]}")
    (home / "data" / "t.csv").write_text("\n".join(lines) + "\n")
    bring("table", home / "data" / "t.csv", home / "p", "--id-column", "id")
    make_run(home / "p")
    status, _ = command("estimate", home / "p", "--run", "first", "--draw", "12", "--out", home / "drawn.csv")
    assert status == DONE
    with open(home / "drawn.csv", encoding="utf-8", newline="") as file:
        rows = [{**row, "verdict": "given"} for row in csv.DictReader(file)]
    assert len(rows) == 12
    return home / "p", rows


def written(path: Path, rows: list[dict[str, str]], *, separator: str = ",", encoding: str = "utf-8", tail: str = "",
            change: Callable[[str], str] = lambda cell: cell, first: str = "") -> Path:
    lines = [separator.join(rows[0]), *(separator.join(map(change, row.values())) + tail for row in rows)]
    path.write_bytes((first + "".join(f"{line}\r\n" for line in lines)).encode(encoding))
    return path


def retyped(cell: str) -> str:
    """What a spreadsheet makes of a cell that looks like a number, a date or a truth."""
    if cell in ("true", "false"):
        return cell.upper()
    try:
        value = float(cell)
    except ValueError:
        return {"1-2": "02. Jan", "03/04": "03. Apr"}.get(cell, cell)
    return f"{value:.2E}" if "e" in cell.lower() else str(int(value)) if value == int(value) else str(value)


KEPT: dict[str, dict[str, object]] = {
    "as saved": {"encoding": "utf-8-sig"}, "semicolons": {"separator": ";", "encoding": "utf-8-sig"},
    "a line sep=;": {"separator": ";", "encoding": "utf-8-sig", "first": "sep=;\r\n"},
    "UTF-16 and tabs": {"separator": "\t", "encoding": "utf-16"}, "empty columns": {"tail": ",,"},
    "an empty column": {"tail": ","},
    "capitals": {"change": lambda cell: cell.title() if cell == "given" else cell}}
REFUSES: dict[str, tuple[dict[str, object], str]] = {
    "Latin-1": ({"encoding": "latin-1"}, "text must be UTF-8"),
    "retyped": ({"change": retyped}, "an answer is about"), "values too many": ({"tail": ",x,y"}, "a row must have")}


def taken(reviewed: tuple[Path, list[dict[str, str]]], tmp_path: Path, file: Path) -> tuple[int, str, Project]:
    """(exit status, what was said, a copy of the project that the answers were read into)."""
    shutil.copytree(reviewed[0], tmp_path / "p")
    status, said = command("verdicts", tmp_path / "p", "--file", file, "--by", "ada")
    return status, said, Project.open(tmp_path / "p")


@pytest.mark.parametrize("kind", KEPT)
def test_twelve_answers_stay_twelve(reviewed: tuple[Path, list[dict[str, str]]], tmp_path: Path, kind: str) -> None:
    file = written(tmp_path / ("a.txt" if "tabs" in kind else "a.csv"), reviewed[1], **KEPT[kind])  # type: ignore[arg-type]
    status, said, project = taken(reviewed, tmp_path, file)
    found = project.verdicts().in_force("audit")
    assert status == DONE and "12 verdicts by ada" in said
    assert set(found["sample_id"]) == {row["sample_id"] for row in reviewed[1]} and set(found["verdict"]) == {"given"}


@pytest.mark.parametrize("kind", REFUSES)
def test_what_cannot_be_told_is_refused_whole(reviewed: tuple[Path, list[dict[str, str]]], tmp_path: Path,
                                              kind: str) -> None:
    options, words = REFUSES[kind]
    file = written(tmp_path / "a.csv", reviewed[1], **options)  # type: ignore[arg-type]
    status, said, project = taken(reviewed, tmp_path, file)
    assert status == REFUSED and words in said and not len(project.verdicts().in_force("audit"))


def test_a_comment_whose_quote_closes_rows_later_is_refused(reviewed: tuple[Path, list[dict[str, str]]],
                                                            tmp_path: Path) -> None:
    rows = [{**{name: row[name] for name in ("sample_id", "path", "given_label", "queue", "label")},
             "comment": {2: '"too dark', 7: 'blurry"'}.get(idx, ""), "verdict": "given"}
            for idx, row in enumerate(reviewed[1])]
    status, said, project = taken(reviewed, tmp_path, written(tmp_path / "a.csv", rows))
    assert status == REFUSED and "lines 4 to 9" in said and not len(project.verdicts().in_force("audit"))


def test_an_answer_to_another_picture_than_was_shown_is_refused(reviewed: tuple[Path, list[dict[str, str]]],
                                                                tmp_path: Path) -> None:
    """Ids 12 and 0012 may bear one label: then the picture alone tells them apart."""
    table = Project.open(reviewed[0]).manifest().set_index("sample_id")
    same = [(one, other) for one in table.index for other in table.index if one != other
            and table.at[one, "given_label"] == table.at[other, "given_label"]]
    one, other = same[0]
    file = tmp_path / "a.csv"
    file.write_text(f"sample_id,path,given_label,queue,verdict\n{other},{table.at[one, 'path']},"
                    f"{table.at[one, 'given_label']},find,given\n")
    status, said, _ = taken(reviewed, tmp_path, file)
    assert status == REFUSED and "an answer is about the picture that was shown" in said
    file.write_text(file.read_text().replace(f"{other},", f"{one},", 1).replace(",find", ",find"))
    assert command("verdicts", tmp_path / "p", "--file", file)[0] == DONE
