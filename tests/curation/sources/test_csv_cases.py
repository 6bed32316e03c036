"""Tables as people hand them over, each with what must come of it: all samples, some with a line, or a refusal."""

import codecs
from pathlib import Path

import pytest

from curation.sources.importing import read_source
from curation.tables.report import Problems, SourceError
from tests.picture_files import write_image

PATHS = [f"images/im{idx}.png" for idx in range(6)]
LABELS = ["cat", "dog", "bird"] * 2
ROWS = list(zip(PATHS, LABELS, strict=True))


def body(separator: str = ",", head: str = "path,label", rows: list[tuple[str, str]] = ROWS) -> str:
    return "\n".join([head.replace(",", separator), *(separator.join(row) for row in rows)]) + "\n"


def with_paths(change: object) -> str:
    return body(rows=[(change(path), label) for path, label in ROWS])  # type: ignore[operator]


CASES: dict[str, tuple[str | bytes, int, str]] = {
    "semicolons": (codecs.BOM_UTF8 + body(";").encode(), 6, ""), "sep line": ("sep=;\n" + body(";"), 6, ""),
    "tabs": (body("\t"), 6, ""), "UTF-16": (body("\t").encode("utf-16"), 6, ""),
    "comment": ("# by a tool\n" + body(), 6, ""),
    "backslashes": (with_paths(lambda path: path.replace("/", "\\")), 6, ""),
    "another machine": (with_paths(lambda path: "C:\\data\\" + path.replace("/", "\\")), 6, ""),
    "root twice": (with_paths(lambda path: "data/" + path), 6, ""),
    "no suffix": (with_paths(lambda path: path[:-4]), 6, ""), "no folder": (with_paths(lambda path: path[7:]), 6, ""),
    "file: addresses": (with_paths(lambda path: f"file://{{root}}/{path}"), 6, ""),
    "remote, the same here": (with_paths(lambda path: "s3://bucket/" + path), 6, ""),
    "remote": (with_paths(lambda path: "s3://bucket/far" + path[9:]), 0, "remote image"),
    "open quote": (body().replace("im2.png,bird", 'im2.png,"bird'), 5, "open quote"),
    "value too many": (body().replace("dog", "dog, big", 1), 5, "malformed line"),
    "Latin-1 row": (body().encode().replace(b"bird", b"b\xe9rd", 1), 5, "not UTF-8"),
    "half a line": (body()[:-6] + "\nimages/im", 5, "missing label"),
    "label twice": (body(rows=[*ROWS, (PATHS[0], "dog")]), 6, "duplicate key"),
    "no header": (body(head="images/im9.png,cat"), -1, "put a row such as path,label before it"),
    "Latin-1 header": (body().replace("label", "cat\xe9gorie").encode("latin-1"), -1, "save it as UTF-8"),
    "header alone": ("path,label\n", 0, ""),
}
"""Kind -> file, samples (-1: refused), what is said of the rest."""


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_of_table(tmp_path: Path, kind: str) -> None:
    for idx, path in enumerate(PATHS):
        write_image(tmp_path / "data" / path, seed=idx)
    content, num, said = CASES[kind]
    table = tmp_path / "data" / "labels.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.replace("{root}", str(table.parent)).encode())
    problems = Problems()
    if num < 0:
        with pytest.raises(SourceError, match=said):
            read_source("table", table, tmp_path / "p", problems, lambda *_: None, {})
        return
    loaded, rows = read_source("table", table, tmp_path / "p", problems, lambda *_: None, {})
    assert rows.num_rows == num and (not said or said in problems.by_kind())
    assert bool(problems.num_lost) == bool(said)
    assert all((loaded.root / path).is_file() for path in rows["path"].to_pylist())
