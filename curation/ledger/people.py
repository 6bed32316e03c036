"""Who acts where people sign in, and what each may do. Asked by all that writes: decisions, verdicts, jobs, imports.

On the command line there is no sign-in: a person who has the files may do all, under any name.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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
_brought: ContextVar[frozenset[str]] = ContextVar("brought", default=frozenset())


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
    if person is not None and who != person.name and who not in _brought.get():
        raise RoleError(f"{act} is by who is signed in; got another name for {person.name}; sign in as that person")


def brought_refusal(authors: Collection[str]) -> str:
    """Why who acts may not bring back what these people said, one line; "" where they may: it is their own, or they
    are an owner."""
    person = signed_in()
    is_own = person is None or not set(authors) - {person.name}
    return "" if is_own else refusal("owner", "bringing back what other people said")


@contextmanager
def bringing_back(authors: Collection[str]) -> Iterator[None]:
    """While it is open, what is written may bear these names: what people said elsewhere comes back from a file. Raises
    RoleError for brought_refusal."""
    if reason := brought_refusal(authors):
        raise RoleError(reason)
    token = _brought.set(frozenset(authors))
    try:
        yield
    finally:
        _brought.reset(token)
