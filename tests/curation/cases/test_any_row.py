"""CVAT's XML, Croissant and tables in the ways of other tools, with anything in them: no traceback; each image or row
is a sample or is reported as lost."""

import copy
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.curation.cases.anything import NAMES, NUM, SAME, changed, read, spliced
from tests.curation.sources.formats.test_croissant import describe, field, images, table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


# -- XML


def cvat() -> ElementTree.Element:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    labels = ElementTree.SubElement(task, "labels")
    for name in ("cat", "dog"):
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for idx, name in enumerate(NAMES):
        image = ElementTree.SubElement(root, "image", id=str(idx), name=name, width="6", height="5")
        tag = ElementTree.SubElement(image, "tag", label="cat", source="manual")
        ElementTree.SubElement(tag, "attribute", name="sample_id").text = f"s{idx}"
    return root


TEXTS = st.sampled_from(["", " ", "cat", "dog", "0.png", "../x.png", "/x.png", "train", "Test", "\u2028", "\x85",
                         "a" * 3000])


@SAME
@given(st.data())
def test_each_image_of_cvat_is_a_sample_or_lost(folder: Path, data: st.DataObject) -> None:
    root = cvat()
    for _ in range(data.draw(st.integers(0, 4))):
        above = data.draw(st.sampled_from([one for one in root.iter() if len(one)]))
        element = data.draw(st.sampled_from(list(above)))
        act = data.draw(st.sampled_from(["take", "double", "rename", "text", "attribute"]))
        if act == "take":
            above.remove(element)
        elif act == "double":
            above.append(copy.deepcopy(element))
        elif act == "rename":
            element.tag = data.draw(st.sampled_from(["image", "tag", "label", "box", "polygon", "attribute"]))
        elif act == "text":
            element.text = data.draw(TEXTS)
        else:
            element.set(data.draw(st.sampled_from(["name", "label", "subset", "id"])), data.draw(TEXTS))
    (folder / "annotations.xml").write_bytes(ElementTree.tostring(root, encoding="utf-8"))
    found = read("cvat", folder)
    if found is not None:
        assert not set(range(1, len(list(root.iter("image"))) + 1)) - found[0] - found[1], found[2].table().to_pylist()


# -- Croissant, and tables in the ways of other tools


def croissant(folder: Path) -> Path:
    (folder / "t.csv").write_text("file_name,label\n" + "".join(f"{name},cat\n" for name in NAMES))
    return describe(folder, [table("t.csv"), images("*.png")], [
        field("file_name", "sc:Text", "table", "file_name"), field("label", "sc:Text", "table", "label")])


@SAME
@given(st.data())
def test_each_row_of_a_described_table_is_a_sample_or_lost(folder: Path, data: st.DataObject) -> None:
    path = croissant(folder)
    path.write_text(json.dumps(changed(data, json.loads(path.read_text()))))
    found = read("croissant", folder)
    assert found is None or found[0] | found[1] == set(range(2, NUM + 2))


CELL = st.sampled_from(["a", "b.png", "c.jpg", "../d.jpg", "/e", "0", "1", "x", "", " ", "train", "-1", "0.5"])
TABLES = {"kaggle": ("train.csv", "id,label,split", 3), "kaggle one-hot": ("train.csv", "id,cat,dog", 3),
          "wilds": ("metadata.csv", "filename,y,split,place", 4), "roboflow": ("_classes.csv", "filename, cat, dog", 3),
          "huggingface": ("metadata.csv", "file_name,label,more", 3), "table": ("t.csv", "path,label,split", 3)}


@pytest.mark.parametrize("name", TABLES)
@SAME
@given(st.data())
def test_each_row_of_a_table_of_others_is_a_sample_or_lost(folder: Path, name: str, data: st.DataObject) -> None:
    file, header, width = TABLES[name]
    rows = data.draw(st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=6))
    if name == "kaggle one-hot":
        rows = [[row[0], *(cell if cell in ("0", "1", "", "x") else "1" for cell in row[1:])] for row in rows]
    (folder / file).write_text(header + "\n" + "".join(",".join(row) + "\n" for row in rows))
    found = read(name.partition(" ")[0], folder if name in ("huggingface", "roboflow") else folder / file)
    if found is not None:
        filled = {number for number, row in enumerate(rows, 2) if any(row)}
        assert found[0] | found[1] == filled and not found[0] & found[1], found[2].table().to_pylist()


@SAME
@given(st.lists(st.tuples(CELL, st.sampled_from([" ", "\t", ""]), CELL), min_size=1, max_size=6))
def test_each_line_of_a_list_is_a_sample_or_lost(folder: Path, lines: list[tuple[str, str, str]]) -> None:
    texts = ["0.png 1", *("".join(line) for line in lines)]
    (folder / "train.txt").write_text("\n".join(texts) + "\n")
    found = read("lists", folder / "train.txt")
    assert found is not None and found[0] | found[1] == {n for n, text in enumerate(texts, 1) if text.strip()}


@pytest.mark.parametrize("name", ["CVAT", "Croissant"])
@SAME
@given(st.data(), st.booleans())
def test_any_bytes_are_read_or_refused_in_one_line(folder: Path, name: str, data: st.DataObject,
                                                   is_random: bool) -> None:
    if name == "CVAT":
        path, content = folder / "annotations.xml", ElementTree.tostring(cvat())
    else:
        path = croissant(folder)
        content = path.read_bytes()
    path.write_bytes(data.draw(st.binary(max_size=60)) if is_random else spliced(data, content))
    read(name.lower(), folder)
    read(name.lower(), path)
