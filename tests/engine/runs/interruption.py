"""A training that is cut short between two epochs, as a kill does, for tests of what goes on from there."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.runs import epoch_report
from engine.runs import train as module


@contextmanager
def stopped_in_epoch(epoch: int) -> Iterator[None]:
    """A training begun in here ends in KeyboardInterrupt before this epoch's files are written; those before are, also
    of heads, whose epochs are otherwise written every few seconds."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        calls, measure = [], module.measure

        def stop(*args: object) -> object:
            calls.append(args)
            if len(calls) == epoch:
                raise KeyboardInterrupt
            return measure(*args)

        patch.setattr(module, "measure", stop)
        patch.setattr(epoch_report, "HEAD_SECONDS", 0.0)
        yield
