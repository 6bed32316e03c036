"""Files of Hugging Face's `datasets`: save_to_disk, Parquet with pictures inside, imagefolder with metadata.

    dataset_dict.json, SPLIT/state.json, SPLIT/*.arrow      DatasetDict.save_to_disk; or state.json and *.arrow alone
    **/SPLIT-00000-of-00004.parquet, SPLIT/0000.parquet     as the hub has them, pictures inside
    SPLIT/metadata.csv or .jsonl, with file_name            imagefolder; without a label column the folders are labels

Class names and their order come from the schema's metadata (ClassLabel, also in a list of answers). Pictures inside
become files of the project. The sample_id is the column sample_id, else split and name of the picture, else made of its
content where it has no name or one that repeats. The library itself is needed for a name of the hub alone
(curation.sources.formats.hub).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.sources.formats.embedded import IMAGES, Pictures, provisional_id, written
from curation.sources.formats.hub import from_hub, is_name
from curation.sources.formats.metadata_folders import has_metadata, load_metadata, seems_to_have_metadata
from curation.sources.formats.places import files_below, split_of
from curation.sources.formats.shards import Columns, Shard, columns_of, pictures, plain_batches, schema_of
from curation.sources.reading.annotators import gather
from curation.sources.reading.answer_columns import AnswerColumns, answer_columns, with_answers
from curation.sources.reading.classes import of_numbers, text_of
from curation.sources.reading.columns import USUAL_NAMES
from curation.sources.reading.rows import Loaded, plain_rows
from curation.sources.reading.source import Option, Source
from curation.sources.reading.table import extra_columns
from curation.sources.reading.votes import votes_in
from curation.tables.frames import concatenated
from curation.tables.lines import constant
from curation.tables.report import Column, Problems, Progress, SourceError
from curation.words import counted

_SUFFIXES = (".parquet", ".arrow")


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, label_column: str | None = None,
         image_column: str | None = None, answers_column: str | None = None, config: str | None = None,
         revision: str | None = None) -> Loaded:
    """Rows of every split below `root`, or of the data set of that name on the hub where no such folder is here. Raises
    SourceError where no file has pictures or a column is lacking."""
    inside: tuple[Path, ...] = ()
    if not root.exists() and is_name(root):
        found = from_hub(root.as_posix(), progress, config, revision)
        shards, ignored, inside = found.shards, 0, found.inside
        if not columns_of(schema_of(shards[0].path)).images:
            raise SourceError(f"a data set needs a column of pictures; {root.as_posix()!r} has "
                              f"{', '.join(schema_of(shards[0].path).names)}; choose another")
    elif config is not None or revision is not None:
        raise SourceError(f"config and revision are of a name of the hub; {root} is a place here; leave them out")
    else:
        shards, ignored = _shards(root)
    if not shards:
        if has_metadata(root):
            return load_metadata(root, problems, progress, label_column, answers_column)
        raise SourceError("a data set of Hugging Face is a folder of save_to_disk, of Parquet files with pictures, or "
                          f"of images with metadata.csv or metadata.jsonl; {root} is none; choose another format")
    columns = columns_of(schema_of(shards[0].path))
    image = _chosen(columns.images, image_column, ("image", "img", "picture"), "pictures", shards[0])
    parts = []
    for idx, shard in enumerate(shards):
        parts += _parts(shard, columns, image)
        progress(idx + 1, len(shards), "reading labels")
    table = _with_names(concatenated([part for part in parts if part.num_rows] or parts), columns)
    table, ours, several = _labels(table, columns, label_column, answers_column, shards[0])
    rows, notes = _rows(table, columns, image, ours)
    label = ours.get("given_label")
    classes = columns.classes.get(label or "") or (columns.lists.get(several.answers[0]) if several else None) or None
    answers = gather(rows, several, classes, problems)
    names = f"classes: {counted(len(classes), 'name')} from the schema" if classes else \
        "the schema names no classes: they are taken from the labels"
    said = [f"label from {label!r}"] if label else []
    said += [f"answers from {', '.join(map(repr, several.answers))}"] if several else []
    notes = [f"columns: picture from {image!r}, {', '.join(said)}", names,
             "the pictures lie inside the files: the import writes them into the project", *notes, *answers.notes]
    if columns.left_out:
        notes.append(f"columns left out, since they hold no plain values: {', '.join(columns.left_out)}")
    if len(columns.images) > 1:
        notes.append(f"of each row one picture is taken; left out: "
                     f"{', '.join(name for name in columns.images if name != image)}")
    if ignored:
        notes.append(f"{counted(ignored, 'file')} with other columns left out")
    folder, by_name = project / IMAGES, {shard.name: shard for shard in shards}
    return Loaded(rows=answers.rows, root=folder, classes=classes, classes_file=shards[0].name, notes=notes,
                  answers=answers.answers,
                  unpack=lambda kept, found, show: written(kept, folder, _reader(by_name, image, inside), found, show))


def _reader(shards: dict[str, Shard], image: str, inside: tuple[Path, ...]) -> Pictures:
    return lambda file, rows: pictures(shards[file].path, image, rows, inside)


def is_here(place: Path) -> bool:
    """Whether a folder, or a Parquet file, holds pictures in tables, or metadata beside images."""
    if place.is_file() and place.suffix.lower() not in _SUFFIXES:
        return False
    shards = [path for path in files_below(place, _SUFFIXES) if not _is_kept(path)]
    return bool(_first_shard(shards)) or (place.is_dir() and seems_to_have_metadata(place))


def _first_shard(files: list[Path]) -> Path | None:
    """The first of a few files that holds pictures."""
    for path in files[:20]:
        try:
            if columns_of(schema_of(path)).images:
                return path
        except SourceError:
            continue
    return None


def _shards(root: Path) -> tuple[list[Shard], int]:
    """(files that have the columns of the first one with pictures, how many others there are)."""
    files = [path for path in files_below(root, _SUFFIXES, depth=3, most=None) if not _is_kept(path)]
    first = _first_shard(files)
    if first is None:
        return [], 0
    folder, schema = root if root.is_dir() else root.parent, schema_of(first)
    found = []
    for path in files:
        if path == first or _is_alike(schema_of(path), schema):
            name = path.relative_to(folder).as_posix()
            found.append(Shard(path=path, name=name, split=split_of(name) or "train"))
    return found, len(files) - len(found)


def _is_kept(path: Path) -> bool:
    """Whether `datasets` keeps in a file what map or filter made: it lies beside the data and is none."""
    return path.suffix == ".arrow" and path.name.startswith("cache-")


def _is_alike(one: pa.Schema, other: pa.Schema) -> bool:
    """Whether two files belong together: the same columns, and the same names of classes."""
    return one.names == other.names and columns_of(one).classes == columns_of(other).classes


def _chosen(have: tuple[str, ...], named: str | None, usual: tuple[str, ...], what: str, shard: Shard,
            sole: tuple[str, ...] = ()) -> str:
    """The column that is meant. sole: taken where none is called as usual and this is one. Raises SourceError."""
    if named is not None and named not in have:
        raise SourceError(f"a column of {what} must be in {shard.name}; got {named!r}; it has "
                          f"{', '.join(have) or 'none'}")
    found = [named] if named else [name for name in usual if name in have] or list(sole)[:1] or \
        (list(have[:1]) if what == "pictures" else [])
    if not found:
        raise SourceError(f"a data set needs a column of {what}; {shard.name} has {', '.join(have) or 'none'}; name "
                          "it")
    return found[0]


def _with_names(table: pa.Table, columns: Columns) -> pa.Table:
    """The table with names in place of class numbers."""
    for name, classes in columns.classes.items():
        table = table.set_column(table.schema.get_field_index(name), name, of_numbers(table[name], classes))
    return table


def _labels(table: pa.Table, columns: Columns, label_column: str | None, answers_column: str | None,
            shard: Shard) -> tuple[pa.Table, dict[str, str], AnswerColumns | None]:
    """with_answers, given_label in it unless what most people said is the label. Raises SourceError where there is
    neither."""
    usual = label_column or next((name for name in USUAL_NAMES["given_label"] if name in columns.plain), None)
    listed = next((name for name in USUAL_NAMES["given_label"] if name in columns.lists), None)
    if answers_column is None and usual is None and listed is not None:
        if not any(len(set(votes)) < len(votes) for votes in map(votes_in, table[listed].drop_null().to_pylist())
                   if votes):
            raise SourceError(f"an image must have one class here; the column {listed!r} of {shard.name} is of lists; "
                              "choose another column of labels, or, where these are several people's answers, name it "
                              "as answers_column")
        answers_column = listed
    if usual is None and answer_columns(table, {}, annotator="", answers=answers_column) is not None:
        return with_answers(table, {}, annotator="", answers=answers_column)
    label = _chosen(columns.plain, label_column, USUAL_NAMES["given_label"], "labels", shard,
                    sole=tuple(columns.classes))
    return with_answers(table, {"given_label": label}, annotator="", answers=answers_column)


def _parts(shard: Shard, columns: Columns, image: str) -> list[pa.Table]:
    """The shard's rows without pictures, with columns of ours that say where each stands."""
    found, start = [], 1
    for table in plain_batches(shard.path, columns, image):
        num = table.num_rows
        for name, column in (("\0split", constant(shard.split, num).cast(pa.string())),
                             ("\0file", constant(shard.name, num).cast(pa.string())),
                             ("\0row", pa.array(np.arange(start, start + num)))):
            table = table.append_column(name, column)
        found.append(table)
        start += num
    return found


def _rows(table: pa.Table, columns: Columns, image: str, chosen: dict[str, str]) -> tuple[pa.Table, list[str]]:
    """(rows as a source hands them over, whose path is where they stand until their picture is written; notes). chosen:
    given_label or ANSWER, or both -> their column."""
    file, numbers = table["\0file"], np.asarray(table["\0row"])
    ids = pa.array([provisional_id(*place) for place in zip(file.to_pylist(), numbers.tolist(), strict=True)])
    ours: dict[str, Column] = {"path": ids, "split": table["\0split"],
                               **{name: text_of(table[column]) for name, column in chosen.items()}}
    used = {*chosen.values(), image, "\0file", "\0row", "\0split"}
    if "sample_id" in columns.plain:
        ours["sample_id"] = text_of(table["sample_id"])
        used.add("sample_id")
    else:
        file_names = pc.replace_substring_regex(table[image], r"^(?:/|[A-Za-z]:[\\/]).*[\\/]", "")  # on what machine
        names = pc.binary_join_element_wise(table["\0split"], file_names, "/")
        counts = pc.value_counts(names)
        once = counts.filter(pc.equal(counts.field("counts"), 1)).field("values")
        ours["sample_id"] = pc.if_else(pc.and_(pc.is_in(names, value_set=once), pc.is_valid(names)), names,
                                       pa.chunked_array([ids]))
    extra, notes = extra_columns(table, used)
    return plain_rows({**ours, **extra}, file.dictionary_encode(), numbers), notes


SOURCE = Source(
    title="Hugging Face data set", load=load, is_root_file=True, recognises=is_here,
    help="A folder that the library datasets wrote (save_to_disk, Parquet with pictures inside, or images with "
         "metadata); pictures inside become files of the project.",
    root_help="Folder of the data set, one Parquet file, or a name on the hub such as OWNER/NAME.",
    options=(
        Option(name="label_column", help="Column of class numbers or labels. Default: label or another usual name."),
        Option(name="image_column", help="Column of pictures. Default: image, else the first."),
        Option(name="answers_column", help="Column of lists of several people's answers, or columns of one person each "
                                           "with commas between. Default: by usual names; '' for none."),
        Option(name="config", help="Of a name on the hub: the configuration, where it has several.", is_in_form=False),
        Option(name="revision", help="Of a name on the hub: branch, tag or commit. Default: the newest.",
               is_in_form=False),
    ))
