"""Who may import whom, and nothing that runs what it reads: held by reading the imports of every file.

    app.py -> curation.views -> curation -> engine.contract, which knows no torch; inside engine only downwards
"""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

PICKLERS = ("pickle", "_pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal")
UNREADABLE = "a module whose name is made at run time"
ENGINE_ROOMS = ("contract", "runtime", "data", "model", "molere", "training", "runs", "study")
"""From the foundation up: a room imports from those before it alone."""
WIDE = ("curation", "curation.audit", "curation.views", "engine")
"""Folders of rooms: a module that lies here itself is a room of its own."""
MAX_LINES, MAX_FILES = 300, 20
LOG = "engine.contract.disk.event_log"
"""What keeps names out of the log."""


def imported(tree: ast.AST, module: str, is_package: bool = False) -> set[str]:
    """Dotted names of every module (and name in it) that a file imports, at any depth, `module` being its own name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*package[:len(package) - node.level + 1], *([base] if base else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            found.add(_text_start(node.args[0]))
    return found


def _text_start(node: ast.expr) -> str:
    """What can be read of a name made at run time: all of a literal, the package that an f-string starts with."""
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return str(node.values[0].value).rpartition(".")[0] or UNREADABLE
    return str(node.value) if isinstance(node, ast.Constant) else UNREADABLE


def broken_rules(tree: ast.Module, module: str, is_package: bool = False) -> list[str]:
    """What a file does that it may not, one line each."""
    names = imported(tree, module, is_package)

    def uses(*packages: str) -> list[str]:
        return sorted(n for n in names if any(n == p or n.startswith(f"{p}.") for p in packages))

    is_view = module == "app" or module == "curation.views" or module.startswith("curation.views.")
    lines = [f"imports the pickler {name}" for name in uses(*PICKLERS)]
    lines += [f"imports {UNREADABLE}"] * (UNREADABLE in names) + _unsafe_calls(tree)
    if module.startswith(("engine.", "curation.")) and module != LOG:
        lines += [f"imports {name}, which is {LOG}'s" for name in uses("logging")]
    if module.startswith("engine"):
        lines += [f"engine imports {name}" for name in uses("curation", "app", "streamlit", "plotly", "html", "jinja2")]
        lines += [f"{name} lies above {module}" for name in uses("engine") if _height(name) > _height(module)]
    if module.startswith("curation") or module == "app":
        lines += [f"imports {name}" for name in uses("torch", "torchvision", "umap")]
        lines += [f"imports {n}" for n in uses("engine") if n != "engine" and n.split(".")[1] != "contract"]
        if not is_view:
            lines += [f"{name} belongs to the views" for name in uses("streamlit", "curation.views", "app")]
    if module == "app":
        lines += [f"app imports {name}" for name in uses("curation", "engine") if name != "curation"
                  and name != "curation.views" and not name.startswith("curation.views.")]
    return lines


def _height(module: str) -> int:
    """The floor that a module of the engine lies on; its command line lies above all rooms."""
    room = (module.split(".") + [""])[1]
    return ENGINE_ROOMS.index(room) if room in ENGINE_ROOMS else len(ENGINE_ROOMS) if room == "__main__" else -1


def _called(node: ast.Call) -> str:
    """The last part of the called name."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _unsafe_calls(tree: ast.AST) -> list[str]:
    """Calls that would run what a file holds."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        keywords = {k.arg: k.value.value if isinstance(k.value, ast.Constant) else ... for k in node.keywords}
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "torch.load" \
                and keywords.get("weights_only") is not True:
            lines.append(f"line {node.lineno}: torch.load without weights_only=True")
        if keywords.get("allow_pickle", False) is not False:
            lines.append(f"line {node.lineno}: allow_pickle")
        if _called(node) in ("read_pickle", "to_pickle", "eval", "exec") and not (
                isinstance(node.func, ast.Attribute) and node.func.attr in ("eval", "exec")):
            lines.append(f"line {node.lineno}: {_called(node)}")
    return lines


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def source_files() -> list[Path]:
    folders = ("engine", "curation", "benchmarks", "tests")
    return [ROOT / "app.py", *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))]


def module_of(path: Path) -> tuple[str, bool]:
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if is_package else parts), is_package


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_keeps_the_rules(path: Path) -> None:
    assert broken_rules(parsed(path), *module_of(path)) == []


@pytest.mark.parametrize(("module", "source", "rule"), [
    ("engine.runs.train", "from curation.project import Project", "engine imports curation.project"),
    ("engine.runs.train", "def f():\n    import streamlit", "engine imports streamlit"),
    ("curation.ledger.ledger", "import torch.nn as nn", "imports torch.nn"),
    ("curation.ledger.ledger", "from engine.runs.train import train", "imports engine.runs.train"),
    ("curation.ledger.ledger", "from engine.training import trainer", "imports engine.training.trainer"),
    ("curation.ledger.ledger", "import streamlit as st", "streamlit belongs to the views"),
    ("curation.ledger.ledger", "from ..views import state", "curation.views belongs to the views"),
    ("curation.ledger.ledger", "importlib.import_module('torch')", "imports torch"),
    ("curation.ledger.ledger", "importlib.import_module(name)", f"imports {UNREADABLE}"),
    ("curation.ledger.ledger", "importlib.import_module(f'torch.{name}')", "imports torch"),
    ("curation.views.data.page", "from torchvision import models", "imports torchvision"),
    ("curation.views.data.page", "from engine.molere.routing import rotation_groups", "imports engine.molere.routing"),
    ("app", "from curation.project import Project", "app imports curation.project"),
    ("engine.training.checkpoint", "import torch\ntorch.load(path)", "line 2: torch.load without weights_only=True"),
    ("engine.training.checkpoint", "torch.load(path, weights_only=False)",
     "line 1: torch.load without weights_only=True"),
    ("engine.model.record", "from engine.molere import routing",
     "engine.molere.routing lies above engine.model.record"),
    ("engine.contract.config", "import engine.data.dataset",
     "engine.data.dataset lies above engine.contract.config"),
    ("engine.study.runner", "import plotly.graph_objects as go", "engine imports plotly.graph_objects"),
    ("engine.data.dataset", "np.load(path, allow_pickle=True)", "line 1: allow_pickle"),
    ("engine.data.dataset", "np.load(path, allow_pickle=flag)", "line 1: allow_pickle"),
    ("benchmarks.speed", "from joblib import load", "imports the pickler joblib"),
    ("tests.fakes", "pd.read_pickle(path)", "line 1: read_pickle"),
    ("curation.ledger.layout", "import logging", "imports logging, which is engine.contract.disk.event_log's"),
    ("curation.samples.table", "eval(text)", "line 1: eval"),
])
def test_a_file_that_breaks_a_rule_is_caught(module: str, source: str, rule: str) -> None:
    assert rule in broken_rules(ast.parse(source), module)


@pytest.mark.parametrize(("module", "source"), [
    ("curation.views.data.page", "import streamlit as st\nfrom engine.contract.run_dir import RunDir"),
    ("curation.ledger.ledger", "from engine.contract.manifest import read_info\nfrom curation import replay"),
    ("engine.runs.train", "import torch\nfrom engine import roles\ntorch.load(path, weights_only=True)\nmodel.eval()"),
    ("engine.data.dataset", "np.load(path, allow_pickle=False)"),
    ("curation.views.main", "importlib.import_module(f'curation.views.{name}')"),
    ("app", "import streamlit as st\nfrom curation.views import main"),
])
def test_a_file_that_keeps_them_is_not(module: str, source: str) -> None:
    assert broken_rules(ast.parse(source), module) == []


# -- the house


def room_of(module: str) -> str:
    package = module.rpartition(".")[0]
    return module if package in WIDE or not package else package


def house() -> tuple[dict[str, list[Path]], dict[str, set[str]]]:
    """The files of each room of the code, and the rooms that each imports from."""
    modules = {module_of(path)[0]: path for path in source_files()
               if path.relative_to(ROOT).parts[0] in ("app.py", "engine", "curation") and path.name != "__init__.py"}
    files: dict[str, list[Path]] = {}
    uses: dict[str, set[str]] = {}
    for module, path in modules.items():
        files.setdefault(room_of(module), []).append(path)
        names = imported(parsed(path), module)
        if module == "curation.views.main":
            names.discard("curation.views")
        uses.setdefault(room_of(module), set()).update(room_of(name) for name in names if name in modules)
    return files, {room: others - {room} for room, others in uses.items()}


def circle(uses: dict[str, set[str]]) -> list[str]:
    """Rooms from which one comes back to where one began; [] without any."""
    done: set[str] = set()

    def walk(room: str, path: list[str]) -> list[str]:
        if room in path:
            return [*path[path.index(room):], room]
        if room in done:
            return []
        found = next((way for other in sorted(uses.get(room, ())) if (way := walk(other, [*path, room]))), [])
        done.add(room)
        return found

    return next((way for room in sorted(uses) if (way := walk(room, []))), [])


def test_no_circle_of_rooms_and_none_of_modules() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    files, uses = house()
    assert len(files) > 20 and circle(uses) == []
    modules = {module_of(path)[0]: path for paths in files.values() for path in paths}
    assert circle({module: {name for name in imported(parsed(path), module)
                            if name in modules and name != module} for module, path in modules.items()}) == []


def test_every_room_of_the_engine_has_its_floor() -> None:
    assert {path.name for path in (ROOT / "engine").iterdir() if (path / "__init__.py").exists()} == set(ENGINE_ROOMS)


def test_no_room_is_crowded_and_no_file_too_long() -> None:
    files, _ = house()
    assert {room: len(paths) for room, paths in files.items() if len(paths) > MAX_FILES} == {}
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n")
             for paths in files.values() for path in paths}
    assert {path: num for path, num in lines.items() if num > MAX_LINES} == {}


def test_every_room_says_what_it_is() -> None:
    folders = {path.parent for folder in ("engine", "curation") for path in (ROOT / folder).rglob("*.py")}
    lacking = [str(folder.relative_to(ROOT)) for folder in folders
               if not ast.get_docstring(parsed(folder / "__init__.py"))]
    assert lacking == []


def test_curation_loads_neither_torch_nor_streamlit_however_deep() -> None:
    modules = [name for path in sorted((ROOT / "curation").rglob("*.py"))
               if "views" not in path.parts and (name := module_of(path)[0]) != "curation.__main__"]
    assert len(modules) > 10
    program = f"import sys, {', '.join(modules)}\nprint(sorted({{'torch', 'streamlit'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


SLOW = {"timm", "torchvision", "sklearn", "umap", "pynndescent", "onnxruntime", "open_clip", "tensorboardX", "mlflow",
        "wandb"}
"""What takes longer to import than a process has: it is imported where it is used."""


def at_once(tree: ast.AST) -> list[ast.stmt]:
    """The import statements that are carried out as soon as a module is imported."""
    found: list[ast.stmt] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found += at_once(node)
    return found


@pytest.mark.parametrize("begun", ["engine.__main__", "engine.runs.train", "engine.runs.live.follow",
                                   "curation.__main__"])
def test_a_process_begins_without_what_is_slow_to_import(begun: str) -> None:
    """Half of the seconds in which an engine process started were those of libraries that it did not use."""
    files = {module_of(path)[0]: path for path in source_files()}
    waiting, seen, slow = [begun], set(), set()
    while waiting:
        module = waiting.pop()
        if module in seen or module not in files:
            continue
        seen.add(module)
        names = imported(ast.Module(at_once(parsed(files[module])), []), *module_of(files[module]))
        waiting += names
        slow |= {f"{module}: {name}" for name in names if name.partition(".")[0] in SLOW}
    assert len(seen) > 5 and not slow


def test_every_third_party_import_is_a_requirement() -> None:
    """A package that only happens to be installed here is missing on a new machine."""
    root = ROOT
    required = {re.split(r"[<>=\[ ]", line)[0].lower() for line in (root / "requirements.txt").read_text().splitlines()
                if line and not line.startswith(("#", "-"))}
    optional = {"open_clip", "datasets", "mlflow", "wandb"}  # asked for by name; what needs it says how to install it
    modules = {"sklearn": "scikit-learn", "PIL": "pillow", "umap": "umap-learn"}
    brought = {"starlette": "streamlit", "anyio": "streamlit", "scipy": "scikit-learn", "pynndescent": "umap-learn",
               "torchvision": "torchvision", "uvicorn": "streamlit", "huggingface_hub": "timm"}
    missing = set()
    for file in [root / "app.py", *(root / "engine").rglob("*.py"), *(root / "curation").rglob("*.py")]:
        for node in ast.walk(parsed(file)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in (n.split(".")[0] for n in names):
                package = brought.get(name, modules.get(name, name)).lower()
                if name not in sys.stdlib_module_names and name not in {"engine", "curation"} | optional and \
                        package not in required:
                    missing.add(f"{file.relative_to(root)}: {name}")
    assert not missing
