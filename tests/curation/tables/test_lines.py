"""Lists of one entry a line: a line that is neither text nor one entry costs itself alone."""

from curation.tables.lines import read_lines
from curation.tables.report import Problems


def test_a_line_with_a_control_character_that_is_not_utf_8_costs_itself_alone(tmp_path):
    (tmp_path / "keys.txt").write_bytes(b"one\nb\xc2\x1fx\n\xc3\xa9t\xc3\xa9\n\xff\xfe\nfive\nsix\x1fx\n")
    problems = Problems()
    lines = read_lines(tmp_path / "keys.txt", "keys.txt", problems, lambda *_: None)
    assert lines.select(["text", "row"]).to_pylist() == [
        {"text": "one", "row": 1}, {"text": "\u00e9t\u00e9", "row": 3}, {"text": "five", "row": 5}]
    assert [(row["kind"], row["row"]) for row in problems.table().to_pylist()] == [
        ("not UTF-8", 4), ("malformed line", 2), ("malformed line", 6)]
