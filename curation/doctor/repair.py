"""The repairs that are safe: what is derived is made anew, what a dead process left is removed; no source is touched.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from curation.doctor.findings import Finding
from curation.project import Project
from engine.contract.disk import temporaries
from engine.contract.errors import UserError
from engine.contract.inside import is_inside

_CODE_ROOT = Path(__file__).parents[2]


def repair(project: Project, finding: Finding) -> bool:
    """Do what a finding names; whether it is done. What cannot be done stays as it is."""
    if finding.repair == "rebuild_decisions":
        try:
            return not project.ledger().snapshot_problem
        except UserError:
            return False
    if finding.repair == "make_features":
        return _make_features(project, finding.where)
    if finding.repair is None:
        return False
    path = project.path / finding.where
    if not is_inside(path, project.path):
        return False
    if finding.kind == "left_over":
        return bool(temporaries.remove([path]))
    return _remove(path)


def _make_features(project: Project, name: str) -> bool:
    """What is sound stays; False without torch, the weights or the pictures, as the engine says."""
    return subprocess.run([sys.executable, "-m", "engine", "features", str(project.path), "--name", name, "--no-run"],
                          cwd=_CODE_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode == 0


def _remove(path: Path) -> bool:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
