"""The precision that an audit asks for: half the width of the overall 95% interval, kept in P/audits/NAME/goal.json."""

import json
from pathlib import Path

from curation.audit.estimate.sampling_plan import folder
from engine.contract.errors import UserError
from engine.contract.work_dir import write_atomic

GOAL_FILE = "goal.json"
TARGET = 0.015
"""Half-width, in (0, 1], that is asked for unless the audit says otherwise."""


class GoalError(UserError):
    """What precision an audit asks for cannot be read. One line, ready to show."""


def save_goal(project: Path, audit: str, half_width: float) -> None:
    """half_width: of the overall interval, in (0, 1]."""
    text = json.dumps({"half_width": half_width})
    write_atomic(folder(project, audit) / GOAL_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def goal_of(project: Path, audit: str) -> float:
    """The half-width asked for, in (0, 1]; TARGET where there is no file. Raises GoalError for a damaged one."""
    file = folder(project, audit) / GOAL_FILE
    try:
        value = float(json.loads(file.read_text(encoding="utf-8"))["half_width"])
        if not 0 < value <= 1:
            raise ValueError(f"half_width {value:g}")
    except FileNotFoundError:
        return TARGET
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise GoalError(f"the precision asked for must be a half_width above 0 and at most 1; {file} cannot be read "
                        f"({reason}); write it again, or delete it to ask for {100 * TARGET:g} points") from error
    return value
