"""One batch as a row of the ledger: who, what, when, why. Checks texts and nothing else."""

from datetime import UTC, datetime
from typing import Any

from engine.contract.errors import UserError

MAX_TEXT = 2000


class LedgerError(UserError):
    """A decision cannot be taken, or the database does not answer. One line, ready to show."""


def batch_row(kind: str, value: str | None, num_samples: int, who: str, why: str, view: str,
              run: str) -> dict[str, Any]:
    """A batch's row, its batch_id still to come. Raises LedgerError unless it says who."""
    texts = {"who": who, "why": why, "view": view, "run": run}
    for name, text in texts.items():
        texts[name] = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
        if len(texts[name]) > MAX_TEXT:
            raise LedgerError(f"{name} may have {MAX_TEXT} characters; got {len(texts[name])}; shorten it")
    if not texts["who"]:
        raise LedgerError("a decision must say who made it; got no name; give your name")
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"kind": kind, "value": value, "num_samples": num_samples, "at": at, **texts}
