"""Documents and bytes with anything in them, and what a reader made of them."""

import copy
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from curation.sources.importing import read_source
from curation.sources.recognise import recognise
from curation.tables.report import Problems, SourceError

SAME = settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[
    HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
"""The same examples on every machine."""
NUM = 4


def names(num: int) -> list[str]:
    """Of that many images."""
    return [f"{idx}.png" for idx in range(num)]


NAMES = names(NUM)

Document = Any

VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 2**63, 10**400, 0.5, 1e308, "", " ", "cat", "dog", "0.png", "../up.png", "/etc/passwd",
    "a\0b", "\ud800", "http://[", "s3://b/1.png", "/data/upload/1/00000000-0.png", "/data/local-files/?d=%00", "train",
    "Classification", "choices", "label", "\ud83d\udc31\nx", "\u0000file", "x" * 5000, [], {}, [None], [[1]], {"": []})
ODD = st.recursive(st.sampled_from(VALUES), lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(
    st.sampled_from(["id", "label", "data", "path", "given_label", "sample_id", "_cls", "\ud800", ""]), inner,
    max_size=3)), max_leaves=4)


def places(value: Document) -> Iterator[tuple[Document, Any]]:
    """Every (container, key) in a document."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def changed(data: st.DataObject, document: Document) -> Document:
    """A document with up to three of its values replaced, taken out, doubled or joined by another."""
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(places(document))
        if not found:
            break
        held, key = found[data.draw(st.integers(0, len(found) - 1))]
        act = data.draw(st.sampled_from(["replace", "replace", "replace", "take", "double", "join"]))
        if act == "replace":
            held[key] = data.draw(ODD)
        elif act == "take":
            del held[key]
        elif isinstance(held, list):
            held.insert(key, copy.deepcopy(held[key]) if act == "double" else data.draw(ODD))
        else:
            held[data.draw(st.sampled_from(["given_label", "path", "split", "group", "extra"]))] = data.draw(ODD)
    return document


def each_changed(make: Callable[[int], Document], of: str) -> Document:
    """A document of many items, of which each but the first few has one of its values replaced by one of VALUES, or a
    key with a lone surrogate: all values in all places. of: what holds the items; "" for the document itself."""
    first = make(1)
    held = _held(first, of)
    num = len(list(places(next(iter(held.values() if isinstance(held, dict) else held))))) + 1
    document = make(NUM + num * len(VALUES))
    held = _held(document, of)
    keys = list(held) if isinstance(held, dict) else range(len(held))
    for key, (place, value) in zip(list(keys)[NUM:], product(range(num), VALUES), strict=True):
        if place == num - 1:
            held[key] = value
            continue
        inner, inner_key = list(places(held[key]))[place]
        inner[inner_key] = copy.deepcopy(value)
        if isinstance(inner, dict):
            inner["\ud800"] = 1
    return document


def _held(document: Document, of: str) -> Document:
    return document[of] if of else document


def read(source: str, root: Path) -> tuple[set[int], set[int], Problems] | None:
    """(rows that are samples, rows reported as lost, all that is reported) of the file; None where it is refused, in
    one line."""
    problems = Problems()
    try:
        recognise(root)
    except SourceError as error:
        assert "\n" not in str(error)
    try:
        _, rows = read_source(source, root, root.parent / "p", problems, lambda *_: None, {})
    except SourceError as error:
        assert "\n" not in str(error) and len(str(error)) < 2_000
        return None
    found = rows["row"].to_pylist()
    assert len(set(found)) == len(found), "a row is one sample"
    lost = {one["row"] for one in problems.table().to_pylist() if one["action"] == "skipped"}
    return set(found), lost, problems


def spliced(data: st.DataObject, content: bytes) -> bytes:
    """Content with some of its bytes replaced by others, or cut off."""
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.one_of(st.just(start), st.just(len(content)), st.integers(start, min(len(content), start + 20))))
    return content[:start] + data.draw(st.one_of(st.binary(max_size=20), st.sampled_from(
        [b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"]", b"}", b'"', b"NaN", b"[" * 3000, b"<!DOCTYPE x>", b"&#0;",
         b"<image/>"]))) + content[end:]
