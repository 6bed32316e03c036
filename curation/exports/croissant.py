"""croissant.json: what a pack holds, as Croissant 1.1 (mlcommons.org/croissant) has it.

Three record sets: the split, the classes by index, the samples with their pictures. Of the files it reads the table
alone, for its digest.
"""

import json
import mimetypes
from pathlib import Path

import pandas as pd

from curation.exports.curated import plain
from curation.exports.pictures import Pictures
from curation.project import Project
from curation.transfer.beside import record_sets
from engine.contract.manifest import file_digest
from engine.contract.signal_columns import COLUMNS

VERSION = "http://mlcommons.org/croissant/1.1"
_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract", "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "parentField": "cr:parentField", "path": "cr:path", "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated",
    "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform"}
"""The context of the specification."""


def write(project: Project, pictures: Pictures, rows: pd.DataFrame, folder: Path, metadata: str, codes: str) -> None:
    """Write croissant.json into `folder`. rows: the table of the pictures as written to `metadata`, below `folder`, in
    their folder; codes: its column of class indices."""
    place = metadata.partition("/")[0]
    suffixes = sorted({Path(name).suffix for name in rows["file_name"]})
    kinds = [mimetypes.guess_type(f"x{suffix}")[0] or "application/octet-stream" for suffix in suffixes]
    name = f"hard validation set of {plain(project.name)}"
    text = {
        "@context": _CONTEXT, "@type": "sc:Dataset", "name": name, "conformsTo": VERSION, "version": "1.0.0",
        "description": f"{len(rows)} samples chosen as hard for a model and edited by people; see README.md.",
        "datePublished": str(pictures.curated.provenance["exported_at"]), "license": "unknown: that of the data",
        "url": "README.md", "creator": {"@type": "sc:Organization", "name": f"project {plain(project.name)}"},
        "citeAs": name,
        "distribution": [
            {"@type": "cr:FileObject", "@id": "table", "name": metadata, "contentUrl": metadata,
             "encodingFormat": "text/csv" if metadata.endswith(".csv") else "application/x-parquet",
             "sha256": file_digest(folder / metadata)},
            {"@type": "cr:FileSet", "@id": "pictures", "name": "pictures", "encodingFormat": sorted(set(kinds)),
             "includes": [f"{place}/*/*{suffix}" for suffix in suffixes]}],
        "recordSet": [_splits(), _classes(pictures), _samples(rows, place, codes),
                      *record_sets(pictures.curated.transfer)]}
    (folder / "croissant.json").write_text(json.dumps(text, indent=1, ensure_ascii=False), encoding="utf-8")


def _samples(rows: pd.DataFrame, place: str, codes: str) -> dict[str, object]:
    """One record a picture: it itself, joined by its file's name with every column of the table."""
    name = {"@type": "cr:Field", "@id": "samples/picture", "name": "picture", "dataType": "sc:Text",
            "source": {"fileSet": {"@id": "pictures"}, "extract": {"fileProperty": "fullpath"},
                       "transform": {"regex": f"^(?:{place}/)?(.+)$"}},
            "references": {"fileObject": {"@id": "table"}, "extract": {"column": "file_name"}}}
    picture = {"@type": "cr:Field", "@id": "samples/image", "name": "image", "dataType": "sc:ImageObject",
               "source": {"fileSet": {"@id": "pictures"}, "extract": {"fileProperty": "content"}}}
    fields = [name, picture, *(_field(str(name), rows[name], codes) for name in rows)]
    return {"@type": "cr:RecordSet", "@id": "samples", "name": "samples", "key": {"@id": "samples/sample_id"},
            "field": fields}


def _field(name: str, column: pd.Series, codes: str) -> dict[str, object]:
    kind = "sc:Boolean" if pd.api.types.is_bool_dtype(column.dtype) else "sc:Integer" \
        if pd.api.types.is_integer_dtype(column.dtype) else "sc:Float" \
        if pd.api.types.is_float_dtype(column.dtype) else "sc:Text"
    field: dict[str, object] = {
        "@type": "cr:Field", "@id": f"samples/{name}", "name": name, "dataType": kind,
        "source": {"fileObject": {"@id": "table"}, "extract": {"column": name}}}
    if name in COLUMNS:
        field["description"] = COLUMNS[name].meaning
    if name == codes:
        field["references"] = {"field": {"@id": "classes/index"}}
    return field


def _classes(pictures: Pictures) -> dict[str, object]:
    """Every class of the project by its index."""
    fields = [{"@type": "cr:Field", "@id": f"classes/{name}", "name": name, "dataType": kind}
              for name, kind in (("index", "sc:Integer"), ("name", "sc:Text"))]
    return {"@type": "cr:RecordSet", "@id": "classes", "name": "classes", "dataType": "sc:Enumeration",
            "key": {"@id": "classes/index"}, "field": fields,
            "data": [{"classes/index": code, "classes/name": label} for code, label in enumerate(pictures.folders)]}


def _splits() -> dict[str, object]:
    fields = [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"},
              {"@type": "cr:Field", "@id": "splits/url", "name": "url", "dataType": "sc:URL"}]
    return {"@type": "cr:RecordSet", "@id": "splits", "name": "splits", "dataType": "cr:Split",
            "key": {"@id": "splits/name"}, "field": fields,
            "data": [{"splits/name": "validation", "splits/url": "cr:ValidationSplit"}]}
