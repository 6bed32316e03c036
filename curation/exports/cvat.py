"""'CVAT for images' 1.1: one tag a picture, with what a person needs to look it up again as attributes."""

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from curation.exports.pictures import Pictures

ATTRIBUTES = {"sample_id": "sample_id", "suggested_label": "suggested_label", "exported_label": "label"}
"""Of a tag, by the column that each is from. exported_label tells, when answers come back, a label that somebody
changed there from one that was changed here since."""
FILES = """
annotations.xml: 'CVAT for images 1.1': every class of the project, in index order, and one tag a picture, with its
sample_id, the class that held-out predictions suggest, and the label that it was exported with
"""
OPENING = """
In CVAT make a task with the classes of classes.txt (each with the text attributes sample_id, suggested_label and
exported_label) from the folder images/, then Upload annotations, CVAT 1.1, annotations.xml. `datumaro` reads the folder
as format `cvat`.

Tags changed there come back from an export as 'CVAT for images 1.1': on the page Decide, or by `python -m curation
verdicts PROJECT --file annotations.xml`.
"""


def write(pictures: Pictures, folder: Path) -> None:
    """Write FILES into `folder`."""
    rows = pictures.rows
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    for tag, text in (("name", "hard validation set"), ("size", str(len(rows))), ("mode", "annotation"),
                      ("start_frame", "0"), ("stop_frame", str(len(rows) - 1)), ("z_order", "False")):
        SubElement(task, tag).text = text
    labels = SubElement(task, "labels")
    for label in pictures.folders:
        entry = SubElement(labels, "label")
        SubElement(entry, "name").text = _text(label)
        attributes = SubElement(entry, "attributes")
        for key in ATTRIBUTES:
            attribute = SubElement(attributes, "attribute")
            for tag, text in (("name", key), ("mutable", "False"), ("input_type", "text"), ("default_value", ""),
                              ("values", "")):
                SubElement(attribute, tag).text = text
    for number, row in enumerate(rows.to_dict("records")):
        image = SubElement(root, "image", id=str(number), name=row["file_name"], width=str(row["width"]),
                           height=str(row["height"]))
        label_tag = SubElement(image, "tag", label=_text(row["label"]), source="manual")
        for key, column in ATTRIBUTES.items():
            text = row[column] if isinstance(row[column], str) else ""
            SubElement(label_tag, "attribute", name=key).text = _text(text)
    indent(root)
    ElementTree(root).write(folder / "annotations.xml", encoding="utf-8", xml_declaration=True)


def _text(text: str) -> str:
    """A text without the characters that XML 1.0 cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or c >= " " and c not in "\ufffe\uffff")
