"""The allocator is told to keep memory only where it takes the first of two settings."""

import pytest

from engine.runtime import allocator


@pytest.mark.parametrize(("accepts", "expected"), [
    (lambda size: True, [(-3, 2**31 - 1), (-1, 2**31 - 1)]),
    (lambda size: size <= 32 * 2**20, [(-3, 2**31 - 1), (-3, 32 * 2**20), (-1, 2**31 - 1)]),
    (lambda size: False, [(-3, 2**31 - 1), (-3, 32 * 2**20)])])
def test_memory_is_kept_only_if_the_threshold_was_taken(monkeypatch, accepts, expected):
    calls = []

    class Library:
        def __init__(self, _):
            pass

        def mallopt(self, which, size):
            calls.append((which, size))
            return int(accepts(size))

    monkeypatch.setattr(allocator.ctypes, "CDLL", Library)
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    allocator.keep_freed_memory()
    assert calls == expected
