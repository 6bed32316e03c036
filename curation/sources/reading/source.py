"""What a format that can be imported is: how it is called, asked for, loaded and recognised."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curation.sources.reading.rows import Loaded

OptionValue = str | int | float


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option of a source, with what a form or a command line needs to ask for it."""

    name: str
    help: str
    kind: type = str
    """str, int or float."""
    default: OptionValue | None = None
    choices: tuple[str, ...] | None = None
    is_in_form: bool = True
    """Whether the app asks for it; the command line always does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One format that can be imported."""

    title: str
    help: str
    load: Callable[..., Loaded]
    needs_root: bool = True
    root_help: str = "Folder of the data set."
    is_root_file: bool = False
    options: tuple[Option, ...] = ()
    recognises: Callable[[Path], bool] | None = None
    """Whether a folder, or a file where root may be one, looks like it, by names and the beginnings of files; None
    where curation.sources.recognise itself knows."""
