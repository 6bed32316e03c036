"""Croissant (1.0 and 1.1): a JSON-LD description whose files lie beside it.

Read are record sets whose label is a column of a table (CSV, Parquet, JSON Lines) with the image embedded, named in a
column or joined by its file's name, and such whose label stands in the paths of image files. Files are never fetched;
those of an archive are found where it was unpacked. Class order is that of an enumeration with inline data. Anything
else of the format is left to `mlcroissant`.
"""

import contextlib
import fnmatch
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from curation.samples.own_exports import as_written
from curation.sources.formats import huggingface
from curation.sources.formats.gathered import distinct
from curation.sources.formats.places import head, images_below, name_below, split_of
from curation.sources.reading.classes import text_of
from curation.sources.reading.columns import USUAL_NAMES, usual_columns
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.sources.reading.rows import Loaded
from curation.sources.reading.source import Option, Source
from curation.sources.reading.table import listed_rows
from curation.tables.frames import SUFFIXES, read_frame
from curation.tables.report import Problems, Progress, SourceError

Node: TypeAlias = dict[str, object]
_CONFORMS = "mlcommons.org/croissant/"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """One field of a record set: what it is and where it is from."""

    id: str
    name: str
    types: tuple[str, ...]
    source: str
    """Id of the file object or set; "" where it has none."""
    column: str
    file_property: str
    regex: str
    refers_to: str
    """A column of a file that the field is joined with; "" for none."""


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, record_set: str | None = None,
         label_field: str | None = None) -> Loaded:
    """Rows of the record set with images and labels. Raises SourceError where none is, or without files."""
    path = _file_of(root)
    if path is None:
        raise SourceError(f"Croissant is a JSON file that conforms to mlcommons.org/croissant; {root} has none; check "
                          "the path")
    document = _read(path)
    fields, label = _chosen(document, path, record_set, label_field)
    files, home = {_id(one): one for one in _nodes(document.get("distribution"))}, path.resolve().parent
    image = next((one for one in fields if any("ImageObject" in kind for kind in one.types)), None)
    if label.column:
        places = _local(files, label.source, home)
        is_embedded = image is not None and image.column and image.source == label.source \
            and places[0].suffix == ".parquet"
        if is_embedded and image is not None and huggingface.is_here(places[0]):
            folder = places[0] if len(places) == 1 else home
            return huggingface.load(folder, project, problems, progress, label_column=label.column,
                                    image_column=image.column)
        join = next((one for one in fields if one.refers_to and one.regex and one.file_property), None)
        by_key = _by_key(join, _local(files, join.source, home), home) if join is not None else {}
        return _of_table(places, fields, label, image, home, _classes(document), problems, progress,
                         _digest_notes(files, label.source, home), by_key)
    if label.file_property and label.regex:
        return _of_paths(_local(files, label.source, home), fields, label, home)
    raise SourceError(f"a label must be a column or stand in the paths of files; field {label.id} of {path.name} is "
                      "neither; write the data out with mlcroissant")


def _read(path: Path) -> Node:
    if path.stat().st_size > _MAX_BYTES:
        raise SourceError(f"a description must be smaller than {_MAX_BYTES >> 20} MB; {path.name} is larger; check it")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path.name} must be a whole JSON file; {' '.join(str(error).split())[:120]}; copy it "
                          "again") from error
    return found if isinstance(found, dict) else {}


def _nodes(value: object) -> list[Node]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def _id(value: object) -> str:
    """The id of a node or of a reference to one."""
    return str(value.get("@id") or value.get("name") or "") if isinstance(value, dict) else str(value or "")


def _field(node: Node) -> _Field:
    source = next(iter(_nodes(node.get("source"))), {})
    extract, transform = (next(iter(_nodes(source.get(name))), {}) for name in ("extract", "transform"))
    refers = next(iter(_nodes(node.get("references"))), {})
    kinds, name = node.get("dataType"), str(node.get("name") or _id(node))
    return _Field(
        id=_id(node), name=name.rpartition("/")[2], column=str(extract.get("column") or ""),
        types=tuple(str(one) for one in (kinds if isinstance(kinds, list) else [kinds])),
        source=_id(source.get("fileObject") or source.get("fileSet")),
        file_property=str(extract.get("fileProperty") or ""), regex=str(transform.get("regex") or ""),
        refers_to=str(next(iter(_nodes(refers.get("extract"))), {}).get("column") or ""))


def _chosen(document: Node, path: Path, record_set: str | None, label_field: str | None) -> tuple[list[_Field], _Field]:
    """(fields of the record set with a label, that label's field). Raises SourceError where there is none."""
    sets = {_id(one): [_field(node) for node in _nodes(one.get("field"))] for one in _nodes(document.get("recordSet"))}
    if record_set is not None and record_set not in sets:
        raise SourceError(f"a record set must be in {path.name}; got {record_set!r}; it has {', '.join(sets)}; choose "
                          "one")
    for name in [record_set] if record_set else sets:
        fields = [one for one in sets[name] if one.source]
        wanted = [one for one in fields if label_field in (one.id, one.name)] if label_field else \
            [one for one in fields if any(kind.endswith("Label") for kind in one.types)] + \
            [one for usual in USUAL_NAMES["given_label"] for one in fields if one.name.lower() == usual]
        if wanted:
            return fields, wanted[0]
    asked = f"no field {label_field!r}" if label_field else "none of type cr:Label or of a usual name, such as label"
    have = "; ".join(f"{name or 'a record set'} has {', '.join(one.name for one in fields) or 'no fields'}"
                     for name, fields in sets.items() if not record_set or name == record_set)
    raise SourceError(f"a record set must have a field with the class of each image; {path.name} has {asked}"
                      f"{_instead(sets)} ({have}); name one as label_field, or choose another format")


def _instead(sets: dict[str, list[_Field]]) -> str:
    """What record sets have in the place of classes of images, in words; "" where that is not known."""
    kinds = " ".join(kind for fields in sets.values() for one in fields for kind in (*one.types, one.name))
    for sign, words in (("SegmentationMask", "but classes of pixels"), ("BoundingBox", "but boxes"),
                        ("bbox", "but boxes"), ("ImageObject", "and images without labels")):
        if sign in kinds:
            return f", {words}"
    return ", and no images (sc:ImageObject)"


def _local(files: dict[str, Node], name: str, home: Path) -> list[Path]:
    """The files of a file object or set that lie below `home`. Raises SourceError where there is none."""
    node = files.get(name, {})
    given = node.get("includes") or node.get("contentUrl") or ""
    patterns = [str(one) for one in (given if isinstance(given, list) else [given])]
    archives = [str(files.get(_id(one), {}).get("contentUrl") or _id(one))
                for one in _nodes(node.get("containedIn"))]
    found: dict[Path, None] = {}
    for pattern in patterns:
        if "://" in pattern or pattern.startswith(("/", "~")) or ".." in pattern.split("/") or not pattern:
            continue
        with contextlib.suppress(ValueError, OSError, NotImplementedError):  # a pattern that is none
            found |= dict.fromkeys(sorted(home.glob(pattern)))
        for folder in _unpacked(archives, home):
            found |= dict.fromkeys(path for path in sorted(folder.rglob("*"))
                                   if fnmatch.fnmatch(path.relative_to(folder).as_posix(), pattern))
    if sound := [path for path in found if path.is_file() and path.resolve().is_relative_to(home)]:
        return sound
    raise SourceError(f"the files of {name or 'a record set'} ({', '.join(patterns)}) must lie beside the "
                      f"description, in {home}; none does; {_way_to(archives, home)}")


def _unpacked(archives: list[str], home: Path) -> list[Path]:
    """Folders below `home` that archives of these addresses may be unpacked in: where they lie, or of their name."""
    found: dict[Path, None] = {}
    for address in archives:
        name = address.partition("?")[0].rpartition("/")[2]
        above = home if "://" in address else home / address.rpartition("/")[0]
        found |= dict.fromkeys((above, above / name.partition(".")[0], home / name.partition(".")[0]))
    return [path for path in found if path.is_dir() and path.resolve().is_relative_to(home)]


def _way_to(archives: list[str], home: Path) -> str:
    """What to do about files that are not there."""
    if there := [one for one in archives if "://" not in one and (home / one).is_file()]:
        return f"unpack {', '.join(there)} there"
    for address in archives:
        if named := re.match(r"https://huggingface\.co/datasets/([\w.-]+(?:/(?!tree/)[\w.-]+)?)", address):
            return f"they are {named[1]} on the hub: `import huggingface {named[1]}`, or download them there"
    return "download them there"


def _digest_notes(files: dict[str, Node], name: str, home: Path) -> list[str]:
    """A sentence for a file that is not the one whose digest the description names."""
    wanted = str(files.get(name, {}).get("sha256") or "")
    if not re.fullmatch("[0-9a-f]{64}", wanted):
        return []
    with open(_local(files, name, home)[0], "rb") as file:
        return [] if hashlib.file_digest(file, "sha256").hexdigest() == wanted else \
            [f"{name} is not the file whose SHA-256 the description names: it was changed since"]


def _classes(document: Node) -> tuple[str, ...] | None:
    """The names that an enumeration lists; None where there is none."""
    for one in _nodes(document.get("recordSet")):
        kinds = one.get("dataType")
        if "sc:Enumeration" not in (kinds if isinstance(kinds, list) else [kinds]):
            continue
        records = _nodes(one.get("data"))
        key = next((name for name in (records[0] if records else ()) if name.rpartition("/")[2] == "name"), None)
        if key is not None:
            return distinct(str(record.get(key)) for record in records)
    return None


def _of_table(places: list[Path], fields: list[_Field], label: _Field, image: _Field | None, home: Path,
              classes: tuple[str, ...] | None, problems: Problems, progress: Progress, notes: list[str],
              by_key: dict[str, str]) -> Loaded:
    """Of a table of labels: every column rides along. by_key: images by what the table's column says of them, where the
    description tells how that is found in their names."""
    parts = []
    for path in places:
        if path.suffix.lower() not in SUFFIXES:
            raise SourceError(f"a table must be one of {', '.join(SUFFIXES)}; got {path.name!r}; write the data out "
                              "with mlcroissant")
        frame = read_frame(path, problems, progress)
        table, have = as_written(frame.columns), frame.columns.column_names
        joined_by = next((one.refers_to for one in fields if one.refers_to in have), None)
        named = image.column if image is not None and image.column in have else joined_by
        ours = usual_columns(have, {"given_label": label.column, **({"path": named} if named else {})})
        if "path" not in ours or label.column not in have:
            raise SourceError(f"a table of labels must have {label.column!r} and a column of image names; {path.name} "
                              f"has {', '.join(have)}; write the data out with mlcroissant")
        names = text_of(table[ours["path"]])
        if by_key and named == joined_by:
            names = pa.array([by_key.get(name, name) if name else None for name in names.to_pylist()], pa.string())
        else:
            prefix = images_below(home, path, [name for name in names.slice(0, 2_000).to_pylist() if name])
            names = pc.binary_join_element_wise(prefix, names, "")
        table = table.set_column(table.schema.get_field_index(ours["path"]), ours["path"], names)
        rows, found = listed_rows(table, ours, home, name_below(path, home), frame.rows, classes=classes)
        parts.append(rows)
        notes = [*notes, *frame.notes, *found, "columns: " + ", ".join(f"{o} from {c!r}" for o, c in ours.items())]
    rows = pa.concat_tables(parts, promote_options="permissive")
    seen = set(rows["given_label"].unique().to_pylist()) - {None}
    is_theirs = classes is not None and seen <= set(classes)
    return Loaded(rows=rows, root=home, classes=classes if is_theirs else None, classes_file="croissant.json",
                  notes=list(dict.fromkeys(notes)))


def _by_key(join: _Field, places: list[Path], home: Path) -> dict[str, str]:
    """What the joining field finds in each image's name -> its path below `home`."""
    names = [name_below(path, home) for path in places]
    keys = _found(join, pa.array(names, pa.string())).to_pylist()
    return {key: name for key, name in zip(keys, names, strict=True) if key is not None}


def _of_paths(places: list[Path], fields: list[_Field], label: _Field, home: Path) -> Loaded:
    """Of image files: label and split stand in their paths, where regular expressions find them."""
    split = next((one for one in fields if one.name.lower() in ("split", "subset") and one.regex), None)
    names = [name_below(path, home) for path in places if path.suffix.lower() in IMAGE_SUFFIXES]
    paths = pa.array(names, pa.string())
    folders = pa.array([split_of(name.rpartition("/")[0]) or "train" for name in names], pa.string())
    table = pa.table({"path": paths, "given_label": _found(label, paths),
                      "split": pc.coalesce(_found(split, paths), folders) if split else folders})
    rows, notes = listed_rows(table, {name: name for name in table.column_names}, home, paths.dictionary_encode(), None)
    return Loaded(rows=rows, root=home, notes=[f"labels from the paths of files, by {label.regex!r}", *notes])


def _found(field: _Field, names: pa.Array) -> pa.Array:
    """What the first group of a field's regular expression finds in paths or names, null where nothing. By RE2, which
    no expression keeps busy. Raises SourceError where it is none."""
    texts = pc.replace_substring_regex(names, "^.*/", "") if field.file_property == "filename" else names
    pattern = f"^.*?(?:{field.regex}).*$"
    try:
        is_match = pc.match_substring_regex(texts, pattern)
        found = pc.replace_substring_regex(texts, pattern, r"\1")
    except pa.ArrowInvalid as error:
        raise SourceError(f"the regular expression of {field.id} must have a group and no look-around; "
                          f"{' '.join(str(error).split())[:100]}; mend the description") from error
    return pc.if_else(pc.and_(is_match, pc.not_equal(found, "")), found, pa.scalar(None, pa.string()))


def _file_of(root: Path) -> Path | None:
    files = [root] if root.is_file() else sorted(root.glob("*.json"))[:50]
    return next((path for path in files if path.suffix == ".json" and _CONFORMS in head(path)
                 and '"recordSet"' in head(path, 1 << 22)), None)


def is_here(place: Path) -> bool:
    """Whether a folder has a description, or a file is one."""
    return _file_of(place) is not None


SOURCE = Source(
    title="Croissant", load=load, is_root_file=True, recognises=is_here,
    help="A Croissant description (1.0 or 1.1) whose files lie beside it.",
    root_help="Folder with the description, or the JSON file.",
    options=(Option(name="record_set", help="Record set to read. Default: the first with a label."),
             Option(name="label_field", help="Field of the labels. Default: of type cr:Label, else of a usual name.")))
