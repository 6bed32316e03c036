"""Transfer scores beside an export of their set: a file of values, and the same as a record set of Croissant."""

import json
from collections.abc import Sequence
from pathlib import Path

from engine.contract.transfers.transfer_dir import BackboneScore, Comparison, Figure, TransferScore

FILE_NAME = "transfer.json"
FILES = f"""
{FILE_NAME}: whether the set is hard for another backbone, as values
"""
_FIELDS = {"features": "sc:Text", "backbone": "sc:Text", "is_own": "sc:Boolean", "labels": "sc:Text",
           "figure": "sc:Text", "num_set": "sc:Integer", "of_set": "sc:Float", "of_random": "sc:Float",
           "difference": "sc:Float", "low": "sc:Float", "high": "sc:Float"}


def write_beside(scores: Sequence[TransferScore], folder: Path) -> str:
    """transfer.json: {"scores": [TransferScore, ...]}, and a line about it; neither without scores."""
    if not scores:
        return ""
    (folder / FILE_NAME).write_text(json.dumps({"scores": scores}, indent=1, ensure_ascii=False), encoding="utf-8")
    return FILES


def record_sets(scores: Sequence[TransferScore]) -> list[dict[str, object]]:
    """A record set of Croissant with a record a backbone, figure and kind of labels; none without scores. Figures
    without an interval are left out, as its numbers may not be null."""
    data: list[dict[str, object]] = []
    for score in scores:
        data += _records(score["other"], is_own=False)
        data += _records(score["own"], is_own=True) if score["own"] else []
    if not data:
        return []
    fields = [{"@type": "cr:Field", "@id": f"transfer/{name}", "name": name, "dataType": kind}
              for name, kind in _FIELDS.items()]
    return [{"@type": "cr:RecordSet", "@id": "transfer", "name": "transfer", "field": fields, "data": data,
             "description": "Accuracy, cross-entropy and margin of plain linear heads, which saw neither, on the set "
                            "and on random sets of the same classes, with the 95% interval of the difference. A score "
                            "of the set, not of a model."}]


def _records(backbone: BackboneScore, *, is_own: bool) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    sides: dict[str, Comparison | None] = {"all": backbone["all"], "known to be right": backbone["right"]}
    for labels, side in sides.items():
        figures: dict[str, Figure] = {} if side is None else {
            "accuracy": side["accuracy"], "loss": side["loss"], "margin": side["margin"]}
        for name, figure in figures.items():
            if side is not None and figure["low"] is not None and figure["high"] is not None:
                values = {"features": backbone["features"], "backbone": backbone["backbone"], "is_own": is_own,
                          "labels": labels, "figure": name, "num_set": side["num_set"], **figure}
                found.append({f"transfer/{key}": value for key, value in values.items()})
    return found
