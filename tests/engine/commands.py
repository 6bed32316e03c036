"""The engine's command line in this process: a new one loads torch for seconds."""

import sys

import pytest

from engine.__main__ import main


def run_engine(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """`python -m engine ARGUMENTS`; its exit status."""
    monkeypatch.setattr(sys, "argv", ["engine", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)
