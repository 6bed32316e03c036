"""Who acts where people sign in, and what each may do. Asked by all that writes: decisions, verdicts, jobs, imports.

On the command line there is no sign-in: a person who has the files may do all, under any name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from curation.ledger.batch import LedgerError

Role = Literal["viewer", "reviewer", "owner"]
"""viewer: looks; reviewer: also decides, answers, saves selections and exports; owner: also imports, trains, and undoes
what others decided. Each may do what those before it may."""
ROLES: tuple[Role, ...] = get_args(Role)


class RoleError(LedgerError):
    """Not for this person. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody signed in; without a role they may not even look."""

    name: str
    role: Role | None


def _no_sign_in() -> Person | None:
    return None


_identify: Callable[[], Person | None] = _no_sign_in


def identify_by(find: Callable[[], Person | None]) -> None:
    """From now on `find` says who acts in this thread; None: there is no sign-in, and all may do all."""
    global _identify
    _identify = find


def signed_in() -> Person | None:
    """Who acts; None where there is no sign-in."""
    return _identify()


def may(role: Role) -> bool:
    """Whether who acts has this role, or one above it."""
    person = signed_in()
    return person is None or (person.role is not None and ROLES.index(person.role) >= ROLES.index(role))


def refusal(role: Role, act: str) -> str:
    """Why who acts may not, one line; "" where they have this role, or one above it. act: what for, as in "an import".
    """
    if may(role):
        return ""
    person = signed_in()
    assert person is not None, "without a sign-in all may do all"
    return (f"{act} is for the role {role}; {person.name or 'a person not signed in'} is "
            f"{person.role or 'without one'}; ask an owner")


def require(role: Role, act: str) -> None:
    """Raises RoleError with that line."""
    if reason := refusal(role, act):
        raise RoleError(reason)


def check_author(who: str, act: str, is_signed: bool = False) -> None:
    """Raises RoleError unless who acts may decide and answer, and is the one that the act names. is_signed: it follows
    from answers, which passed here."""
    if is_signed:
        return
    require("reviewer", act)
    person = signed_in()
    if person is not None and who != person.name:
        raise RoleError(f"{act} is by who is signed in; got another name for {person.name}; sign in as that person")
