"""Names of classes that stand in a table's schema: Hugging Face's ClassLabel, and the categories of pandas.

Reads schemas and dictionaries alone.
"""

import json
from typing import TypedDict

import pyarrow as pa


class Feature(TypedDict):
    """What `datasets` says of a column."""

    kind: str
    names: tuple[str, ...]
    """Of the classes; of a list, those of what is in it."""


def features(schema: pa.Schema) -> dict[str, Feature]:
    """Column -> its feature, of the metadata that `datasets` puts into schemas; none where they are absent or odd."""
    info = _metadata(schema, b"huggingface").get("info")
    found = info.get("features") if isinstance(info, dict) else None
    plain = {str(name): {"feature": one[0]} if isinstance(one, list) and len(one) == 1 else one  # of older versions
             for name, one in (found.items() if isinstance(found, dict) else ())}
    return {name: Feature(kind=str(one.get("_type", "")), names=_texts(one.get("names") or _inner(one).get("names")))
            for name, one in plain.items() if isinstance(one, dict)}


def _inner(feature: dict[str, object]) -> dict[str, object]:
    """What a list holds."""
    inner = feature.get("feature")
    return inner if isinstance(inner, dict) else {}


def class_labels(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Column of class numbers -> the classes' names in their order, as ClassLabel has them."""
    found = features(schema)
    return {name: found[name]["names"] for name in schema.names
            if name in found and found[name]["kind"] == "ClassLabel" and found[name]["names"]}


def categories(table: pa.Table) -> dict[str, tuple[str, ...]]:
    """Column -> its categories in their order, those without a row too, of the columns that pandas wrote as such or
    whose dictionary is ordered: any other dictionary is a way to store text. table: with its schema's metadata."""
    columns = _metadata(table.schema, b"pandas").get("columns")
    ours = {str(one.get("field_name")) for one in (columns if isinstance(columns, list) else ())
            if isinstance(one, dict) and one.get("pandas_type") == "categorical"}
    found = {}
    for field in table.schema:
        if pa.types.is_dictionary(field.type) and (field.name in ours or field.type.ordered) and table.num_rows:
            names = table[field.name].unify_dictionaries().chunk(0).dictionary.cast(pa.string()).to_pylist()
            found[field.name] = _texts([name for name in names if name is not None and name.strip()])
    return found


def _metadata(schema: pa.Schema, key: bytes) -> dict[str, object]:
    try:
        found = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _texts(names: object) -> tuple[str, ...]:
    """Names as labels have them, white space at their ends removed."""
    return tuple(str(name).strip() for name in names) if isinstance(names, list) else ()
