"""The README's tree, commands and options exist, and what exists at the top is in it."""

import re
import shlex
import subprocess

import pytest
from typer.testing import CliRunner

from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.settings import settings_of
from tests import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S))


def test_every_path_in_the_table_exists_and_every_room_is_in_it():
    named = {p for line in re.findall(r"^\| (`.*?) \|", README, re.M) for p in re.findall(r"`([^`]+)`", line)}
    assert named and all((ROOT / path).exists() for path in named)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    rooms = {f"{p.split('/')[0]}/" for p in tracked if "/" in p and not p.startswith(".")}
    assert rooms <= named


def test_pictures_exist():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / p).exists() for p in pictures)


def test_both_set_up_commands_stand_on_one_line_each():
    assert len(re.findall(r"^python3 -m venv .*streamlit run app\.py$", BLOCKS, re.M)) == 1
    assert len(re.findall(r"^python3 -m venv .*-m pytest -q$", BLOCKS, re.M)) == 1


COMMANDS = [line.split("#")[0].split("&&")[-2 if "streamlit" in line else -1].strip() for line in BLOCKS.splitlines()
            if " -m curation" in line or " -m engine" in line]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_known(command):
    words = shlex.split(command)
    app_name, verb = words[2], words[3]
    if app_name == "engine":
        from engine.__main__ import app
    else:
        from curation.__main__ import app
    shown = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    assert shown.exit_code == 0, shown.output
    for option in (w for w in words if w.startswith("--")):
        assert option in shown.output, f"{verb} has no {option}"
    for setting in re.findall(r"--set (\S+)=", command):
        assert setting in {s["name"] for s in settings_of(RunConfig)}


def test_every_method_is_named():
    assert all(f"`{name}`" in README for name in METHODS)
