"""The lock: what deployments install is what requirements.txt allows, each file known by its hash. No network."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import ROOT

LOCK = ROOT / ".lock" / "requirements.txt"


def asked() -> list[Requirement]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    return [Requirement(line) for line in lines if line]


def locked() -> dict[str, tuple[Version, list[str]]]:
    """Name -> its one version, and the hashes of its files."""
    text = LOCK.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)((?: +--hash=sha256:[0-9a-f]{64})+)", line) for line in lines]
    assert all(found), "a line pins one version and names hashes, nothing else"
    return {canonicalize_name(m[1]): (Version(m[2]), m[3].split()) for m in found if m}


@pytest.mark.parametrize("requirement", asked(), ids=lambda requirement: requirement.name)
def test_the_lock_satisfies_the_requirements_which_end_somewhere(requirement: Requirement) -> None:
    version, _ = locked()[canonicalize_name(requirement.name)]
    assert version in requirement.specifier, "run .lock/update"
    assert {part.operator for part in requirement.specifier} & {"<", "=="}, "an upper bound: what was tested"


def test_torch_and_torchvision_are_a_pair() -> None:
    torch, vision = locked()["torch"][0], locked()["torchvision"][0]
    assert (torch.major, vision.major) == (2, 0) and torch.minor + 15 == vision.minor and torch.micro == vision.micro
    bounds = [next(Version(part.version) for part in found.specifier if part.operator == "<") for found in asked()
              if found.name in ("torch", "torchvision")]
    assert bounds[0].minor + 15 == bounds[1].minor


def test_the_lock_is_written_by_its_command_for_the_python_that_is_the_least() -> None:
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    command = (ROOT / ".lock" / "update").read_text()
    assert f"--python-version {least}" in command and "--generate-hashes" in command
    assert ".lock/update" in LOCK.read_text().splitlines()[1]


def known(name: str, *vulns: str) -> dict:
    return {"name": name, "version": "1.0",
            "vulns": [{"id": vuln, "fix_versions": ["1.1"], "aliases": [], "description": ""} for vuln in vulns]}


UNKNOWN = {"name": "odd", "version": "1.0", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(("osv", "pypi", "status", "said"), [
    ([known("a"), known("b")], None, 0, "osv: 2 of 2 packages looked up, 0 vulnerabilities known"),
    ([known("a"), known("b", "CVE-1")], None, 1, "b 1.0: CVE-1, mended in 1.1"),
    (None, [known("a", "CVE-2"), UNKNOWN], 1, "pypi: 1 of 2 packages looked up, 1 vulnerabilities known"),
    ([known("a"), UNKNOWN], None, 3, "NOT CHECKED: odd"),
    (None, [UNKNOWN], 3, "NOT CHECKED: no source of advisories could be reached"),
    (None, None, 3, "osv: unreachable")])
def test_the_audit_says_what_is_known_and_what_was_not_looked_up(tmp_path: Path, osv, pypi, status, said) -> None:
    """pip-audit itself ends with 0 where it found no package at all."""
    answers = {"osv": osv and json.dumps({"dependencies": osv}), "pypi": pypi and json.dumps({"dependencies": pypi})}
    (tmp_path / "pip_audit.py").write_text(
        f"import sys\nanswer = {answers!r}[sys.argv[sys.argv.index('-s') + 1]]\n"
        "print(answer) if answer else sys.exit('unreachable')\n")
    done = subprocess.run([sys.executable, ROOT / ".lock" / "audit"], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (status, "") and said in done.stdout
