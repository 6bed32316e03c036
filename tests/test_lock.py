"""The lock: what deployments install is what requirements.txt allows, each file known by its hash. No network."""

import re
import tomllib

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
