"""'CVAT for images' XML (1.1): images with tags. Boxes, polygons and the like are no labels of whole images. Several
tags of an image are several people's answers where each names its annotator as an attribute.

The split is the image's subset, else what the file is called. Classes are those of the task, in their order. Reads the
file element by element; documents that define entities are refused.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from curation.sources.formats.gathered import Gathered, Value, distinct
from curation.sources.formats.places import data_root, files_below, head, images_below, name_below, ours_of, split_of
from curation.sources.reading.answer_columns import ANNOTATOR_NAMES
from curation.sources.reading.rows import SPLIT_NAMES, Loaded
from curation.sources.reading.source import Source
from curation.sources.reading.votes import Vote
from curation.tables.report import Problems, Progress, SourceError
from curation.words import counted

_SHAPES = ("box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton")
_CHUNK_BYTES = 4_096


def load(root: Path, project: Path, problems: Problems, progress: Progress) -> Loaded:
    """Rows of every image with one tag. Raises SourceError where no file is CVAT's, or none has a tag."""
    files = ours_of(root, (".xml",), is_ours, "CVAT's XML holds annotations and images")
    home, gathered, names = data_root(root), Gathered(problems), dict[str, None]()
    num_tagged = num_shapes = 0
    for path in files:
        if has_document_type(path):
            raise SourceError(f"CVAT's XML has no document type; {path.name} declares one; export it again")
        file, prefix, row = name_below(path, home), images_below(home, path, _image_names(path)), 0
        for element in _elements(path, progress):
            if element.tag == "label":
                name = element.findtext("name")
                if name is not None and element.find("parent") is None:
                    names[name.strip()] = None
                continue
            row += 1
            tags = [tag.get("label", "").strip() for tag in element.iter("tag")]
            num_tagged += bool(tags)
            num_shapes += any(element.find(shape) is not None for shape in _SHAPES)
            _add(gathered, element, tags, prefix, file, row)
    if not num_tagged:
        shapes = f", and boxes or outlines in {counted(num_shapes, 'image')}" if num_shapes else ""
        raise SourceError(f"a class of a whole image is a tag in CVAT; {files[0].name} has none{shapes}; tag the "
                          "images, or choose another format")
    notes = [f"classes: {counted(len(names), 'label')} of the task, in their order"] if names else []
    if num_shapes:
        notes.append(f"boxes and outlines of {counted(num_shapes, 'image')} are left out: a tag is an image's label")
    return gathered.loaded(home, notes, classes=distinct(names) if names else None, classes_file=files[0].name)


def _add(gathered: Gathered, image: ElementTree.Element, tags: list[str], prefix: str, file: str, row: int) -> None:
    name = image.get("name") or ""
    votes = _votes(image)
    label = None if votes else gathered.one_of(tags, file=file, row=row, path=name)
    if not votes and len(set(tags)) > 1:
        return
    subset = (image.get("subset") or "").lower()
    split = SPLIT_NAMES.get(subset, subset) or split_of(file) or "train"
    extra: dict[str, Value] = {one.get("name", ""): (one.text or "").strip() or None
                               for tag in image.iter("tag") for one in tag.iter("attribute") if one.get("name")}
    ours: dict[str, Value] = {"path": prefix + name if name else None, "given_label": label, "split": split}
    if extra.get("sample_id"):
        ours["sample_id"] = extra.pop("sample_id")
    if votes:
        extra = {key: value for key, value in extra.items() if key.lower() not in ANNOTATOR_NAMES}
        extra["answered_by"] = votes[0][0]
    gathered.add(ours, extra, file=file, row=row, votes=votes)


def _votes(image: ElementTree.Element) -> list[Vote]:
    """What each annotator said of an image; [] where a tag names none."""
    found: list[Vote] = []
    for tag in image.iter("tag"):
        said = {one.get("name", "").lower(): (one.text or "").strip() for one in tag.iter("attribute")}
        who = next((said[name] for name in ANNOTATOR_NAMES if said.get(name)), None)
        if who is None:
            return []
        found.append((who, tag.get("label", "").strip()))
    return found


def has_document_type(path: Path) -> bool:
    """Whether an XML file declares a document type, where entities are defined, as the parser itself sees it: in any
    encoding and however far down the file. Reads up to the first element."""
    is_typed, has_begun = [], []
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = lambda *declared: is_typed.append(True)
    parser.StartElementHandler = lambda *element: has_begun.append(True)
    with open(path, "rb") as file, suppress(expat.ExpatError, ValueError, LookupError):  # reading it says so
        while not (is_typed or has_begun) and (chunk := file.read(_CHUNK_BYTES)):
            parser.Parse(chunk)
    return bool(is_typed)


def _elements(path: Path, progress: Progress) -> Iterator[ElementTree.Element]:
    """The labels of the task and the images of a file, one after the other, each forgotten after its turn."""
    depth, num = 0, 0
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            for event, element in ElementTree.iterparse(file, events=("start", "end")):
                depth += 1 if event == "start" else -1
                if event == "start" and depth == 1:
                    root = element
                if event == "start" or element.tag not in ("label", "image"):
                    continue
                yield element
                if depth == 1:
                    root.clear()
                num += 1
                if num % 5_000 == 0:
                    progress(min(file.tell(), size), size, f"reading {path.name}")
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two of an unknown encoding
        raise SourceError(f"{path.name} must be whole XML; {error}; export or copy it again") from error


def _image_names(path: Path) -> list[str]:
    """Some of the images' names, to find the folder that they lie in."""
    images = (one.get("name") or "" for one in _elements(path, lambda *step: None) if one.tag == "image")
    return [name for name in islice(images, 2_000) if name]


def is_ours(path: Path) -> bool:
    """Whether a file begins as CVAT's do."""
    return path.suffix.lower() == ".xml" and bool(re.search(r"<annotations>\s*<(version|meta|image)\b", head(path)))


def is_here(place: Path) -> bool:
    """Whether a folder, or an XML file, is CVAT's."""
    return any(is_ours(path) for path in files_below(place, (".xml",))[:20])


SOURCE = Source(
    title="CVAT", load=load, is_root_file=True, recognises=is_here,
    help="'CVAT for images' XML: the tags of images; boxes and outlines are left out.",
    root_help="Folder with the XML and the images, or the XML file.")
