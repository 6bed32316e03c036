"""Buttons that a person's role does not let press are drawn disabled, and say why in their help: on every page, here.

Which button needs which role is told by its key. Only how a page looks: what is refused is decided where things are
written (curation.ledger.people), whatever a page shows, and keys and pictures that are no buttons of Streamlit's are
refused there.
"""

import re
from typing import Any

from streamlit.elements.widgets.button import ButtonMixin

from curation.ledger import people
from curation.ledger.people import Role
from curation.views.widgets import actions

_OPS = "|".join(actions.VERBS)
NEEDED: tuple[tuple[Role, str], ...] = (
    ("owner", r"(cancel|resume)\..+|(sidebar|study)\.(cancel|resume)"),
    ("owner", r"features\.(start|(cancel|resume|add|renew)\..+|go\..+\.run)|own\.start|import\.(start|demo)"),
    ("owner", r"(new_run|new_study|transfer)\.start|decide\.(experiment|retrain|preview)|compare\.more_seeds"),
    ("reviewer", rf"sample\.({_OPS}|undo)|pin\.(relabel|others|anyway)"),
    ("reviewer", r"decide\.(take_back|by_ids|bring\.take|undo|redo|undo_batch|settle\.(?!open).+)"),
    ("reviewer", r"(explore|triage)\.(do\..+|undo|redo|confirm|view_do_save|view_do_delete)"),
    ("reviewer", r"audit\.(begin|draw|find\.begin|settle)|export\.(write|cancel)"),
)
"""The role that a button needs, and the keys of such buttons, all of a key matched. All other buttons only look."""


def role_needed(key: str) -> Role | None:
    """The role that the button with this key needs; None: it only looks."""
    return next((role for role, keys in NEEDED if re.fullmatch(keys, key)), None)


_draw_button = ButtonMixin._button


def _button(self: ButtonMixin, label: str, key: str | None, help: str | None, *args: Any, **named: Any) -> bool:
    role = role_needed(key) if key else None
    if role is not None and (reason := people.refusal(role, "this")):
        help, named["disabled"] = reason, True
    return _draw_button(self, label, key, help, *args, **named)


def install() -> None:
    """Have every page of this process draw its buttons so; once is enough, more do no harm."""
    if ButtonMixin._button is not _button:
        ButtonMixin._button = _button  # type: ignore[method-assign]
