"""What the README names exists: rooms, paths, commands, options, methods, files of a project; and what exists is named.

Held both ways, so that neither the code nor the README can change alone. And it stays short enough to read.
"""

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest
import typer
from typer.testing import CliRunner

from curation.exports.exporting import EXPORTS
from curation.sources.importing import SOURCES
from engine.contract.config import RunConfig
from engine.contract.methods import METHODS
from engine.contract.settings import settings_of
from tests import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.S))
MAX_WORDS = 1000


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.S | re.M)
    assert found, f"no section {title}"
    return found[1]


def table(text: str) -> list[list[str]]:
    """The cells of each row of the tables in a text, without the rows of dashes."""
    lines = [line for line in text.splitlines() if line.startswith("|") and set(line) - set("|-: ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(text: str) -> list[str]:
    """What stands between backticks, outside blocks of code."""
    return re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


# -- its length


def num_words(text: str) -> int:
    """Words of a Markdown text but for blocks of code, addresses and the bars of tables."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return len(re.findall(r"\S*\w\S*", text.replace("|", " ")))


def test_words_are_counted_without_code_addresses_and_bars() -> None:
    assert num_words("# One\n\n```sh\nnot these\n```\n\n| two | `three` |\n| --- | --- |\n| +4.0 | |\n"
                     "[five](https://not.this) -> ![six seven](not/this.png)") == 7


def test_it_can_be_read_to_the_end() -> None:
    assert num_words(README) <= MAX_WORDS


# -- the rooms


def rooms() -> set[str]:
    """Every folder of modules, every other folder at the top, and the app, as the README names them."""
    found = {f"{path.parent.relative_to(ROOT)}/" for room in ("engine", "curation")
             for path in (ROOT / room).rglob("__init__.py")}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    others = {f"{path.split('/')[0]}/" for path in tracked if "/" in path and not path.startswith(".")}
    return found | others | {"app.py"}


def named_rooms() -> list[str]:
    """Every path of the table in its order; a path in the second column may begin in the folder of the first."""
    paths = []
    for cells in table(section("The rooms"))[1:]:
        firsts = quoted(cells[0])
        assert firsts, f"no path in the row {cells}"
        paths += firsts
        for path in quoted(cells[1]):
            inside = firsts[0] + path
            paths.append(inside if (ROOT / inside).exists() else path)
    return paths


def test_every_path_in_the_table_exists() -> None:
    missing = [path for path in named_rooms() if not (ROOT / path).exists()]
    assert missing == []


def test_every_room_is_in_the_table() -> None:
    assert rooms() - set(named_rooms()) == set()


def test_the_rooms_of_the_engine_are_in_the_order_in_which_they_may_import() -> None:
    from tests.test_import_rules import ENGINE_ROOMS

    order = [path.split("/")[1] for path in named_rooms() if path.startswith("engine/") and path != "engine/"]
    assert list(dict.fromkeys(order)) == list(ENGINE_ROOMS)


WHERE = re.findall(r"^- .*\? .*$", section("The rooms"), re.M)


def test_the_list_of_where_things_are_is_there() -> None:
    assert len(WHERE) >= 6


@pytest.mark.parametrize("line", WHERE)
def test_everything_is_where_the_list_says(line: str) -> None:
    names = quoted(line)
    paths = [name for name in names if "/" in name]
    assert paths and [path for path in paths if not (ROOT / path).exists()] == []
    for name in set(names) - set(paths):
        tree = ast.parse((ROOT / paths[0]).read_text(encoding="utf-8"))
        targets = [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
        assert name in {target.id for target in targets if isinstance(target, ast.Name)}, f"no {name} in {paths[0]}"


def test_every_other_path_exists() -> None:
    paths = [name for name in quoted(README) if re.fullmatch(r"[a-z_]+/[\w./]*", name)]
    shorter = set(quoted(section("The rooms")))  # begin in the folder of their row
    assert len(paths) > 20
    assert [path for path in paths if path not in shorter | {"projects/"} and not (ROOT / path).exists()] == []


def test_pictures_exist() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / p).exists() for p in pictures)


# -- the commands


def test_both_set_up_commands_stand_on_one_line_each() -> None:
    assert len(re.findall(r"^python3 -m venv .*streamlit run app\.py$", BLOCKS, re.M)) == 1
    assert len(re.findall(r"^python3 -m venv .*-m pytest -q -n auto --dist loadfile$", BLOCKS, re.M)) == 1


def command_lines() -> Iterator[str]:
    for line in BLOCKS.splitlines():
        if line.startswith("#"):
            continue
        parts = line.split("#")[0].split("&&")
        yield from (part.strip() for part in parts if re.search(r"-m (engine|curation)\b", part))


def app_of(name: str) -> typer.Typer:
    if name == "engine":
        from engine.__main__ import app
    else:
        from curation.__main__ import app
    return app


@pytest.mark.parametrize("command", list(command_lines()))
def test_every_command_and_option_is_known(command: str) -> None:
    words = shlex.split(command)
    app_name, verb, *rest = words[words.index("-m") + 1:]
    shown = CliRunner().invoke(app_of(app_name), [verb, "--help"],
                               env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    assert shown.exit_code == 0, shown.output
    options = set(re.findall(r"--[\w-]+", shown.output))
    assert {word for word in rest if word.startswith("--")} <= options
    for setting in re.findall(r"--set (\S+)=", command):
        assert setting in {s["name"] for s in settings_of(RunConfig)}


@pytest.mark.parametrize("name", ["engine", "curation"])
def test_every_command_is_shown(name: str) -> None:
    commands = typer.main.get_command(app_of(name)).commands  # type: ignore[attr-defined]
    shown = {words[words.index("-m") + 2] for line in command_lines() if f"-m {name} " in line
             if (words := shlex.split(line))}
    assert len(commands) > 3 and set(commands) - shown == set()


def test_every_method_is_named() -> None:
    assert [name for name in METHODS if f"`{name}`" not in README] == []


def test_every_format_in_and_out_is_named() -> None:
    block = re.search(r"```\nin (.*?)\nout (.*?)\nback", README, re.S)
    assert block, "the block of formats"
    read_in = {line.split()[0] for line in block[1].splitlines()}
    written = set(re.findall(r"[\w-]+(?=[,:])", block[2]))
    assert read_in == set(SOURCES) - {"demo"}
    assert {name for _, name in EXPORTS} <= written


def test_what_is_gained_and_lost_fits_one_table() -> None:
    rows = table(section("What MOLERE gains and loses"))[1:]
    differences = [float(row[3].replace("*", "").replace("\N{MINUS SIGN}", "-").split()[0]) for row in rows]
    assert 1 < len(rows) <= 8 and min(differences) < 0 < max(differences)


# -- the project folder


def first_parts(words: list[str]) -> set[str]:
    """Of paths, the file, or the folder that they begin in."""
    return {word.split("/")[0] for word in words}


def documented(path: str) -> set[str]:
    """What a module's docstring lists: the first column of its indented lines; a line of folders alone has many."""
    text = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8")), clean=False) or ""
    columns = [re.split(r"\s{2,}", line) for line in re.findall(r"^    (\S.*)$", text, re.M)]
    return first_parts([name for words in columns for cell in (words if words[-1].endswith("/") else words[:1])
                        for name in cell.split(", ")])


def shown(folder: str) -> set[str]:
    """What the README's tree has in one folder of a project; "" is the project itself."""
    tree = re.findall(r"```\n(.*?)```", section("A project is a folder"), re.S)[0]
    if not folder:
        lines = [line.split() for line in re.findall(r"^\S.*$", tree, re.M)]
        return first_parts([name for words in lines for name in (words if words[-1].endswith("/") else words[:1])])
    found = re.search(rf"^{folder}(.*?)^(?=\S)", tree, re.S | re.M)
    assert found, f"no {folder} in the tree"
    return first_parts(found[1].split())


@pytest.mark.parametrize(("module", "folder"), [
    ("curation/project.py", ""), ("engine/contract/run_dir.py", "runs/NAME/"),
    ("engine/contract/studies/study_dir.py", "studies/NAME/")])
def test_the_project_folder_is_as_its_modules_document_it(module: str, folder: str) -> None:
    wanted, names = documented(module), shown(folder)
    assert len(wanted) > 5
    assert {name for name in wanted if not any(fnmatch(name, other) for other in names)} == set()
    text = (ROOT / module).read_text(encoding="utf-8")
    assert {name for name in names if name.rstrip("*") not in text} == set()
