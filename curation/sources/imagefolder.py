"""A tree of image folders: ROOT/CLASS/image, ROOT/SPLIT/CLASS/image or ROOT/CLASS/SPLIT/image.

Split folders: see rows.SPLIT_NAMES (val, validation and clean become split clean). A class folder's own subfolders
belong to the class. The sample_id is the path below ROOT with forward slashes, so it stays when ROOT moves, and a
changed image stays the same sample; renaming a file or moving it to another class makes it a new one.

Where metadata.csv or metadata.jsonl name the images, they are read as Hugging Face has them; images that none of their
rows names are reported.
"""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from curation.sources.folder_layout import Arrangement, arrangement, split_of_folder
from curation.sources.folder_walk import FolderWalk, is_project
from curation.sources.formats.metadata_folders import has_metadata, load_metadata, metadata_files
from curation.sources.reading.rows import SPLIT_NAMES, Loaded, plain_rows
from curation.tables.report import Problems, Progress, SourceError
from curation.words import counted

LAYOUTS = ("auto", "class", "split")
_SHAPES = {"classes": "CLASS/image", "splits": "SPLIT/CLASS/image", "classes of splits": "CLASS/SPLIT/image"}


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, layout: str = "auto") -> Loaded:
    """Rows of every file with an image's suffix. Raises SourceError where ROOT has no class folder."""
    root = root.resolve()
    if root == project.resolve() or is_project(root):
        raise SourceError(f"the project folder must not be the image folder itself; {root} is a project; choose the "
                          "folder of the images, or another project folder, which may lie inside")
    walk = FolderWalk(root, problems, project.resolve())
    if layout == "auto" and has_metadata(root):
        walk.lists = frozenset(walk.relative(path) for path in metadata_files(root))
        loaded = load_metadata(root, problems, progress, None)
        _report_unnamed(walk, loaded.rows, problems)
        loaded.notes += _notes(walk)
        return loaded
    found = arrangement(root, layout)
    places, merged = _trimmed(_places(walk, found))
    if not places:
        raise SourceError(f"an image folder must hold {_SHAPES[found.order]}; {root} has no class folder; check the "
                          "folder")
    parts, deep, deep_folders = [_rows([], "train", "")], 0, []
    for idx, (split, label, folder) in enumerate(places):
        for paths in walk.images(folder):
            parts.append(_rows(paths, split, label))
            if (inner := paths[0].rpartition("/")[0]) != walk.relative(folder):
                deep += len(paths)
                deep_folders.append(inner)
        progress(idx + 1, len(places), "listing folders")
    all_train = ", all of it split train" if found.order == "classes" else ""
    notes = [f"layout read as {_SHAPES[found.order]}{all_train}"]
    if merged:
        notes.append(f"folders whose names differ by spaces at their ends alone are one class: "
                     f"{', '.join(map(repr, merged[:5]))}")
    if found.base != root:
        notes.append(f"everything lies in the folder {walk.relative(found.base)!r}: its folders were read")
    if deep:
        notes.append(f"{counted(deep, 'image')} of {counted(len(deep_folders), 'folder')} inside class folders counted "
                     f"as their class's, such as {deep_folders[0]!r}")
    return Loaded(rows=pa.concat_tables(parts), root=root, notes=notes + _notes(walk),
                  candidates=tuple(sorted({label for _, label, _ in places})))


def _notes(walk: FolderWalk) -> list[str]:
    """What was passed over without a line of its own."""
    notes = []
    if walk.num_hidden:
        notes.append(f"{counted(walk.num_hidden, 'hidden file')} left out")
    if walk.num_links:
        notes.append(f"{counted(walk.num_links, 'link')} to folders left out: links are not followed")
    if walk.projects:
        notes.append(f"{counted(len(walk.projects), 'project')} of this program left out, such as {walk.projects[0]!r}")
    return notes


def _places(walk: FolderWalk, found: Arrangement) -> list[tuple[str, str, Path]]:
    """(split, class, folder) of every folder of images, by name."""
    folders = walk.folders(found.base)
    if found.order == "classes":
        return [("train", folder.name, folder) for folder in folders]
    if found.order == "classes of splits":
        return [(split_of_folder(inner.name) or "train", folder.name, inner) for folder in folders
                for inner in walk.folders(folder)]
    names, places = frozenset(folder.name for folder in folders), []
    for folder in folders:
        split = split_of_folder(folder.name, names)
        if split is None:
            walk.problems.add("unknown split", f"a split folder must be one of {', '.join(SPLIT_NAMES)}",
                              file=walk.relative(folder))
        else:
            places += [(split, child.name, child) for child in walk.folders(folder)]
    return places


def _trimmed(places: list[tuple[str, str, Path]]) -> tuple[list[tuple[str, str, Path]], list[str]]:
    """(places whose classes have no white space at their ends, as no label has; names that thereby are of one class)"""
    trimmed = [(split, label.strip() or label, folder) for split, label, folder in places]
    written = {label for _, label, _ in places}
    num = Counter(name.strip() for name in written)
    return trimmed, sorted(name for name in written if num[name.strip()] > 1)


def _report_unnamed(walk: FolderWalk, rows: pa.Table, problems: Problems) -> None:
    """Images that no row of the metadata names."""
    named = frozenset(rows["path"].to_pylist())
    for paths in walk.images(walk.root):
        for path in paths:
            if path not in named:
                problems.add("no row", "an image must be named by a row of the metadata beside it", file=path)


def _rows(paths: list[str], split: str, label: str) -> pa.Table:
    """Rows of one class in one split; no list declares them, so the report names the files themselves."""
    names = pa.array(paths, pa.string())
    columns = {"sample_id": names, "path": names, "given_label": pa.array([label] * len(paths), pa.string()),
               "split": pa.array([split] * len(paths), pa.string())}
    return plain_rows(columns, "", None)
