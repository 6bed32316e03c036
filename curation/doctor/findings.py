"""What a look at a project finds, as facts. Puts nothing in words and repairs nothing."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["project", "manifest", "pictures", "ledger", "decisions", "draw", "run", "checkpoint", "evidence",
               "study", "features", "file", "cache", "left_over", "link", "space"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a finding is about, in the order in which it is looked at."""
Severity = Literal["broken", "note", "sound"]
"""sound: nothing is wrong; said for what one may want to keep."""
Repair = Literal["rebuild_decisions", "make_features", "remove"]
"""rebuild_decisions: from the ledger; make_features: rows of a network's features that are damaged, or of pixels
that are decoded otherwise now, by the engine; remove:
the file or folder, which is made anew when it is needed, or was left by a process that is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    where: str
    """A file or folder relative to the project, or a name."""
    what: str
    """Why, as the reader of the file said it; one line."""
    severity: Severity = "broken"
    repair: Repair | None = None
    """What --repair does about it; None: people must."""
