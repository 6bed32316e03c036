"""`python -m curation import`: exit status, one-line errors, names shown as text, every option listed and working."""

import io
import re
import subprocess
import sys

import pytest

from curation.__main__ import app, main
from curation.sources.console import ShownProgress, print_summary, visible
from curation.sources.importing import SOURCES, import_project
from engine.contract.manifest import read_info, read_manifest
from tests.picture_files import write_image


@pytest.fixture
def folder(tmp_path):
    for idx, name in enumerate(("[bold red]x", "<script>alert(1)", "=1+1")):
        write_image(tmp_path / "data" / name / "0.png", seed=idx)
    (tmp_path / "data" / "=1+1" / "\x1b[31mred.png").write_bytes(b"")
    return tmp_path / "data"


def test_an_import_that_lost_a_picture_ends_with_status_3_and_a_summary(tmp_path, folder, capsys):
    assert main(["import", "imagefolder", str(folder), "--project", str(tmp_path / "p")]) == 3
    out, err = capsys.readouterr()
    assert re.search(r"3 samples of 3 classes in .*/p \(3 train, 0 clean, 0 test; \d+\.\d s\)", out)
    assert "1 problems (1 zero-byte file); all of them in" in out and "import_report.parquet" in out
    assert "[bold red]x" in out and "<script>alert(1)" in out, "names are shown as text"
    assert "\x1b" not in out and "\\x1b[31mred.png: zero-byte file" in out
    assert "decoding images: 4 of 4" in err and "\r" not in err and "\x1b" not in err
    assert len(read_manifest(tmp_path / "p")) == 3


def test_what_the_import_held_out_is_said_to_have_labels_as_given(tmp_path, capsys):
    for name in ("cat", "dog"):
        for idx in range(10):
            write_image(tmp_path / "data" / name / f"{idx}.png", seed=idx)
    arguments = ["import", "imagefolder", str(tmp_path / "data"), "-p", str(tmp_path / "p"), "--check", "none"]
    assert main([*arguments, "--hold-out-clean", "0.2"]) == 0
    assert "(16 train, 4 clean held out with labels as given, 0 test; " in capsys.readouterr().out
    assert main(arguments) == 0
    assert "(16 train, 4 clean held out with labels as given, 0 test; " in capsys.readouterr().out, "and stays so"


def test_a_second_import_says_what_changed(tmp_path, folder, capsys):
    arguments = ["import", "imagefolder", str(folder), "-p", str(tmp_path / "p"), "--check", "exists"]
    assert main(arguments) == 3
    write_image(folder / "=1+1" / "new.png")
    capsys.readouterr()
    assert main(arguments) == 3
    assert "1 samples added, 0 removed; decisions and runs kept" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["import", "nope", "-p", "{p}"], "a source must be one of demo, clothing1m, imagefolder, table, "),
    (["import", "imagefolder", "--project", "{p}"], "source imagefolder needs ROOT"),
    (["import", "imagefolder", "{p}/none", "--project", "{p}"], "does not exist; check the path"),
    (["import", "clothing1m", "{data}", "--project", "{p}"], "a Clothing1M layout needs"),
    (["import", "demo"], "Missing option '--project'"),
    (["import", "demo", "--project", "{p}", "--seed", "x"], "Invalid value for '--seed'"),
    (["import", "demo", "--project", "{p}", "--noise", "7"], "noise must lie in"),
    (["import", "demo", "--project", "{p}", "--path-column", "x"], "has no option path_column"),
    (["import", "demo", "--project", "{p}", "--bogus"], "No such option"),
    (["bogus"], "No such command"),
])
def test_wrong_input_ends_with_status_2_and_one_line(tmp_path, folder, capsys, arguments, message):
    filled = [argument.format(p=tmp_path / "p", data=folder) for argument in arguments]
    assert main(filled) == 2
    out, err = capsys.readouterr()
    assert message in err and err.startswith("error: ") and err.count("\n") == 1 and out == ""
    assert not (tmp_path / "p").exists()


def test_a_fault_of_ours_is_not_blamed_on_the_user(tmp_path, monkeypatch):
    def broken(*args: object, **options: object) -> None:
        raise ValueError("arithmetic of ours")

    monkeypatch.setattr("curation.__main__.import_project", broken)
    with pytest.raises(ValueError, match="arithmetic of ours"):
        main(["import", "demo", "--project", str(tmp_path / "p")])


def test_an_interrupt_stops_with_a_word_and_status_130(tmp_path, monkeypatch, capsys):
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curation.__main__.import_project", interrupted)
    assert main(["import", "demo", "--project", str(tmp_path / "p")]) == 130
    assert "stopped" in capsys.readouterr().err


def test_the_process_itself_exits_with_the_status(tmp_path):
    done = subprocess.run([sys.executable, "-m", "curation", "import", "table", str(tmp_path / "none.csv"), "--project",
                           str(tmp_path / "p")], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"error: a table must be a file; there is none at {tmp_path / 'none.csv'}; check the path\n"


def test_help_lists_every_option_of_every_source(capsys):
    assert main(["import", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, source in SOURCES.items():
        assert f"{name}: {source.help[:20]}" in text
        for option in source.options:
            assert f"--{option.name.replace('_', '-')} " in text
            assert f"({name}) " + option.help[:25] in text.replace("- ", "-")
    assert main([]) == 0 and "import" in capsys.readouterr().out


def test_every_flag_reaches_its_option(tmp_path, folder):
    (tmp_path / "t.csv").write_text("i,p,f,l,t,s,g\nid1,x,a,one,one,train,day\nid2,x,a,two,one,train,day\n")
    write_image(tmp_path / "pics" / "a")
    (tmp_path / "names.txt").write_text("two\none\n")
    assert main(["import", "table", str(tmp_path / "t.csv"), "-p", str(tmp_path / "p"), "--path-column", "f",
                 "--label-column", "l", "--clean-label-column", "t", "--split-column", "s", "--group-column", "g",
                 "--id-column", "i", "--image-root", str(tmp_path / "pics"), "--classes", str(tmp_path / "names.txt"),
                 "--check", "none"]) == 0
    rows = read_manifest(tmp_path / "p")
    assert rows[["sample_id", "path", "given_label", "clean_label", "split", "group"]].values.tolist() == [
        ["id1", "a", "one", "one", "train", "day"], ["id2", "a", "two", "one", "train", "day"]]
    assert read_info(tmp_path / "p").classes == ("two", "one")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_anything_else_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    screen, pipe = Terminal(), io.StringIO()
    for stream in (screen, pipe):
        with ShownProgress(stream) as progress:
            for done in range(0, 101):
                progress(done, 100, "reading [b]list[/b]")
    assert "\x1b[" in screen.getvalue() and "reading [b]list[/b]" in screen.getvalue()
    assert pipe.getvalue().splitlines() == [f"reading [b]list[/b]: {num} of 100" for num in (0, 25, 50, 75, 100)]


def test_the_summary_of_many_classes_is_cut_and_says_so(tmp_path):
    for idx in range(40):
        write_image(tmp_path / "data" / f"class {idx:02d}" / "0.png")
    stream = io.StringIO()
    print_summary(import_project("imagefolder", tmp_path / "p", root=tmp_path / "data"), stream)
    assert "class 29" in stream.getvalue() and "class 30" not in stream.getvalue()
    assert "and 10 more classes" in stream.getvalue()


def test_control_characters_are_made_visible_and_letters_of_any_script_stay():
    assert visible("a\x1b[31m\n\u202e\u00e9\u4e2d") == "a\\x1b[31m\\n\\u202e\u00e9\u4e2d"


def test_commands_are_named(capsys):
    assert {command.name or command.callback.__name__ for command in app.registered_commands} >= {"import"}
