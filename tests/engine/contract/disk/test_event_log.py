"""The log: lines that several processes write whole, and what stands in none of them."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.contract.disk import event_log
from tests import ROOT

WRITER = """
import sys
from engine.contract.disk import event_log
event_log.MAX_BYTES, event_log.NUM_OLDER = 4000, 100
event_log.begin("engine")
for number in range(100):
    event_log.event("ended", verb="train", num=number)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "state"))
    yield tmp_path / "state"
    event_log.end()


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(folder.glob("log.jsonl*")) if path.suffix != ".lock"
            for line in path.read_text().splitlines()]


def test_processes_that_write_and_turn_it_over_at_once_lose_no_line(folder: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER], cwd=ROOT) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = lines_of(folder)
    assert sorted((line["pid"], line["num"]) for line in found) == sorted(
        (writer.pid, number) for writer in writers for number in range(100))
    files = list(folder.glob("log.jsonl*"))
    assert len(files) > 5 and all(path.stat().st_size <= 4000 for path in files)


def test_an_error_is_told_by_type_and_place_and_never_by_what_it_says(folder: Path) -> None:
    event_log.begin("app")
    try:
        try:
            {"Marker1": 0}["Marker2"]
        except KeyError as cause:
            raise ValueError("Marker3") from cause
    except ValueError as error:
        event_log.event("refused", error=error, project=folder / "Marker4")
    (line,) = lines_of(folder)
    assert [each["type"] for each in line["error"]] == ["ValueError", "KeyError"] and len(line["project"]) == 8
    assert line["error"][0]["at"][0].startswith("tests/engine/contract/disk/test_event_log.py:")
    assert (line["program"], line["level"], line["event"]) == ("app", "info", "refused")
    assert "Marker" not in json.dumps(line)


def test_words_go_to_the_terminal_and_not_into_the_log(folder: Path, capsys: pytest.CaptureFixture) -> None:
    event_log.begin("curation")
    event_log.event("renewed", kind="damaged", words="/home/Marker was damaged")
    logging.getLogger("whetstone").warning("another Marker")
    assert capsys.readouterr().err == "/home/Marker was damaged\nanother Marker\n"
    assert [line["event"] for line in lines_of(folder)] == ["renewed", "other"]
    assert "Marker" not in json.dumps(lines_of(folder))


def fail(said: str) -> None:
    try:
        {}[said]
    except KeyError as cause:
        raise ValueError(f"{said} again") from cause


def test_no_traceback_on_the_terminal_of_the_app_says_what_an_error_said(folder: Path,
                                                                        capsys: pytest.CaptureFixture) -> None:
    """Of our own log, of another library's and of a thread; once the app has ended, as ever."""
    label = "Marker"  # tracebacks have lines of code, as they stand
    library, terminal = logging.getLogger("a_library"), logging.StreamHandler(sys.stderr)
    library.addHandler(terminal)
    try:
        for program in ("app", "curation"):
            event_log.begin(program)
            try:
                fail(label)
            except ValueError as error:
                event_log.event("failed", error=error, words="a page failed")
                library.exception("a request failed")
            if program == "app":
                thread = threading.Thread(target=fail, args=(label,))
                thread.start(), thread.join()
            said = capsys.readouterr().err
            assert said.count("raise ValueError(f") == (3 if program == "app" else 2)
            assert said.count("Marker again") == (0 if program == "app" else 2)
            if program == "app":
                assert said.count("KeyError (what it says") == said.count("\nValueError (what it says") == 3
                assert "Marker" not in said and "a thread failed" in said
    finally:
        library.removeHandler(terminal)
    assert "Marker" not in json.dumps(lines_of(folder))


def test_without_a_place_to_write_it_work_goes_on(folder: Path) -> None:
    folder.write_text("a file stands where the folder belongs")
    with event_log.command("engine", "train") as ended:
        ended["status"] = 0
        event_log.event("decided", num=3)


def test_a_command_is_told_with_its_end(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="zero"), event_log.command("engine", "train"):
        raise ZeroDivisionError("by zero")
    began, failed, ended = lines_of(folder)
    assert (began["event"], began["verb"]) == ("began", "train")
    assert (failed["event"], failed["error"][0]["type"]) == ("failed", "ZeroDivisionError")
    assert (ended["event"], ended["status"]) == ("ended", 1) and ended["seconds"] >= 0
    event_log.event("decided", num=3)
    assert len(lines_of(folder)) == 3, "the command is over"
