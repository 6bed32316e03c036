"""Croissant descriptions of local files: read as mlcroissant reads them, nothing outside of their folder."""

import hashlib
import json
from pathlib import Path

import pytest

from curation.sources.importing import import_project
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.curation.sources.formats.pictures import picture
from tests.curation.sources.formats.test_huggingface import CLASSES, encoded, shard

CONTEXT = {"@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/", "cr": "http://mlcommons.org/croissant/",
           "dct": "http://purl.org/dc/terms/", "conformsTo": "dct:conformsTo", "recordSet": "cr:recordSet",
           "field": "cr:field", "source": "cr:source", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
           "extract": "cr:extract", "column": "cr:column", "includes": "cr:includes", "references": "cr:references",
           "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "fileProperty": "cr:fileProperty",
           "transform": "cr:transform", "regex": "cr:regex", "data": {"@id": "cr:data", "@type": "@json"},
           "key": "cr:key"}


def field(name: str, kind: str, source: str, column: str = "", **more: object) -> dict[str, object]:
    extract = {"column": column} if column else {"fileProperty": "fullpath"}
    key = "fileObject" if column and source == "table" else "fileSet"
    return {"@type": "cr:Field", "@id": f"r/{name}", "name": name, "dataType": kind,
            "source": {key: {"@id": source}, "extract": extract, **more}}


def describe(folder: Path, files: list[dict[str, object]], fields: list[dict[str, object]],
             sets: list[dict[str, object]] | None = None, version: str = "1.0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "croissant.json").write_text(json.dumps({
        "@context": CONTEXT, "@type": "sc:Dataset", "name": "d", "conformsTo": f"http://mlcommons.org/croissant/{version}",
        "distribution": files,
        "recordSet": [*(sets or []), {"@type": "cr:RecordSet", "@id": "r", "name": "r", "field": fields}]}))
    return folder / "croissant.json"


def table(url: str, kind: str = "text/csv", **more: object) -> dict[str, object]:
    return {"@type": "cr:FileObject", "@id": "table", "name": url, "contentUrl": url, "encodingFormat": kind, **more}


def images(*patterns: str) -> dict[str, object]:
    return {"@type": "cr:FileSet", "@id": "images", "name": "images", "encodingFormat": "image/png",
            "includes": list(patterns)}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_table_of_names_and_labels_with_classes_in_their_order(tmp_path: Path, version: str) -> None:
    data = tmp_path / "d"
    for name in ("a.png", "b.png", "c.png"):
        picture(data / "pics" / name)
    (data / "t.csv").write_text("file_name,label,split,shop\na.png,ant,train,1\nb.png,zebra,train,2\n"
                                "c.png,ant,validation,1\n")
    digest = hashlib.sha256((data / "t.csv").read_bytes()).hexdigest()
    enumeration = {"@type": "cr:RecordSet", "@id": "classes", "name": "classes", "dataType": "sc:Enumeration",
                   "field": [{"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"}],
                   "data": [{"classes/name": "zebra"}, {"classes/name": "ant"}]}
    file = describe(data, [table("t.csv", sha256=digest), images("pics/*.png")],
                    [field("file_name", "sc:Text", "table", "file_name"), field("label", "sc:Text", "table", "label")],
                    [enumeration], version)
    assert recognise(data)[0].source == "croissant"
    result = import_project("croissant", tmp_path / "p", root=file)
    rows = read_manifest(tmp_path / "p")
    assert rows[["path", "given_label", "split", "shop"]].values.tolist() == [
        ["pics/a.png", "ant", "train", 1], ["pics/b.png", "zebra", "train", 2], ["pics/c.png", "ant", "clean", 1]]
    assert read_info(tmp_path / "p").classes == ("zebra", "ant")
    assert not any("SHA-256" in note for note in result.notes)
    (data / "t.csv").write_text((data / "t.csv").read_text().replace(",2\n", ",3\n"))
    assert any("SHA-256" in note for note in import_project("croissant", tmp_path / "p", root=file).notes)


def test_parquet_with_pictures_inside(tmp_path: Path) -> None:
    shard(tmp_path / "d/data/train-0.parquet", [0, 1], [encoded(1), encoded(2)])
    shard(tmp_path / "d/data/test-0.parquet", [2], [encoded(3)])
    describe(tmp_path / "d", [{"@type": "cr:FileSet", "@id": "files", "name": "files", "includes": "data/*.parquet",
                               "encodingFormat": "application/x-parquet"}],
             [field("image", "sc:ImageObject", "files", "image"), field("label", "sc:Integer", "files", "label")])
    import_project("croissant", tmp_path / "p", root=tmp_path / "d")
    assert read_manifest(tmp_path / "p")["split"].tolist() == ["train", "train", "test"]
    assert read_info(tmp_path / "p").classes == tuple(CLASSES)


def test_labels_in_paths_and_what_is_not_here(tmp_path: Path) -> None:
    for name in ("train/cat/1.png", "train/dog/2.png", "test/dog/3.png"):
        picture(tmp_path / "d/pics" / name)
    regex = {"transform": {"regex": "pics/(?:train|test)/([a-z]+)/"}}
    fields = [field("image", "sc:ImageObject", "images"), field("label", "cr:Label", "images", **regex)]
    describe(tmp_path / "d", [images("pics/*/*/*.png")], fields)
    import_project("croissant", tmp_path / "p", root=tmp_path / "d")
    rows = read_manifest(tmp_path / "p")
    assert rows[["path", "given_label", "split"]].values.tolist() == [
        ["pics/train/cat/1.png", "cat", "train"], ["pics/train/dog/2.png", "dog", "train"],
        ["pics/test/dog/3.png", "dog", "test"]]
    for pattern in ("https://host/x.png", "/etc/*.png", "../*/*.png", "none/*.png"):
        describe(tmp_path / "d", [images(pattern)], fields)
        with pytest.raises(SourceError, match="must lie beside the description"):
            import_project("croissant", tmp_path / "q", root=tmp_path / "d")
    describe(tmp_path / "d", [images("pics/*/*/*.png")], [field("label", "cr:Label", "images",
                                                                transform={"regex": "(?=x)(("})])
    with pytest.raises(SourceError, match="must have a group and no look-around"):
        import_project("croissant", tmp_path / "q", root=tmp_path / "d")


def test_pictures_of_an_archive_are_joined_where_it_was_unpacked(tmp_path: Path) -> None:
    """As the description of PASS has them: in tar files, joined with a table by what stands in their names."""
    data = tmp_path / "d"
    (data / "data").mkdir(parents=True)
    (data / "data/meta.csv").write_text("hash,by\nff37,ada\nfe00,bob\ngone,bob\n")
    (data / "data/p.0.tar").write_bytes(b"packed")
    join = {"@type": "cr:Field", "@id": "r/hash", "name": "hash", "dataType": "sc:Text",
            "references": {"fileObject": {"@id": "table"}, "extract": {"column": "hash"}},
            "source": {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "filename"},
                       "transform": {"regex": r"([^\/]*)\.png"}}}
    packed = {"@type": "cr:FileObject", "@id": "pack", "name": "pack", "contentUrl": "data/p.0.tar",
              "encodingFormat": "application/x-tar"}
    describe(data, [table("data/meta.csv"), packed, {**images("*.png"), "containedIn": [{"@id": "pack"}]}],
             [join, field("image", "sc:ImageObject", "images"), field("creator", "sc:Text", "table", "by")])
    with pytest.raises(SourceError, match=r"must lie beside the description, .*unpack data/p.0.tar there"):
        import_project("croissant", tmp_path / "p", root=data, label_field="creator")
    for name in ("ff37", "fe00"):
        picture(data / "data/set/1" / f"{name}.png")
    result = import_project("croissant", tmp_path / "p", root=data, label_field="creator")
    assert read_manifest(tmp_path / "p")[["path", "given_label"]].values.tolist() == [
        ["data/set/1/ff37.png", "ada"], ["data/set/1/fe00.png", "bob"]]
    assert result.problem_kinds == {"missing file": 1}


def test_a_key_of_two_pictures_names_neither(tmp_path: Path) -> None:
    data = tmp_path / "d"
    for name in ("train/1.png", "test/1.png", "train/2.png", "train/3.png"):
        picture(data / "pics" / name)
    (data / "meta.csv").write_text("key,label\n1,ada\n2,bob\n3,ada\n")
    join = {"@type": "cr:Field", "@id": "r/key", "name": "key", "dataType": "sc:Text",
            "references": {"fileObject": {"@id": "table"}, "extract": {"column": "key"}},
            "source": {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "filename"},
                       "transform": {"regex": r"([^\/]*)\.png"}}}
    describe(data, [table("meta.csv"), images("pics/*/*.png")],
             [join, field("image", "sc:ImageObject", "images"), field("label", "cr:Label", "table", "label")])
    result = import_project("croissant", tmp_path / "p", root=data)
    assert read_manifest(tmp_path / "p")["path"].tolist() == ["pics/train/2.png", "pics/train/3.png"]
    assert result.problem_kinds == {"missing file": 1}


def test_files_of_the_hub_are_found_beside_it_or_named_as_the_hub_names_them(tmp_path: Path) -> None:
    repo = {"@type": "cr:FileObject", "@id": "repo", "name": "repo", "encodingFormat": "git+https",
            "contentUrl": "https://huggingface.co/datasets/ylecun/mnist/tree/refs%2Fconvert%2Fparquet"}
    files = {"@type": "cr:FileSet", "@id": "files", "name": "files", "includes": "*/*/*.parquet",
             "containedIn": {"@id": "repo"}, "encodingFormat": "application/x-parquet"}
    describe(tmp_path / "d", [repo, files], [field("image", "sc:ImageObject", "files", "image"),
                                             field("label", "sc:Integer", "files", "label")])
    with pytest.raises(SourceError, match="they are ylecun/mnist on the hub: `import huggingface ylecun/mnist`, or"):
        import_project("croissant", tmp_path / "p", root=tmp_path / "d")
    shard(tmp_path / "d/mnist/train/0000.parquet", [0, 1], [encoded(1), encoded(2)])
    shard(tmp_path / "d/mnist/test/0000.parquet", [2], [encoded(3)])
    import_project("croissant", tmp_path / "p", root=tmp_path / "d")
    assert read_manifest(tmp_path / "p")["split"].tolist() == ["train", "train", "test"]


@pytest.mark.parametrize(("fields", "match"), [
    ([field("mask", "cr:SegmentationMask", "images")], "such as label, but classes of pixels [(]r has mask[)]"),
    ([field("image", "sc:ImageObject", "images"), field("b", "cr:BoundingBox", "images")], "but boxes [(]r has image"),
    ([field("image", "sc:ImageObject", "images")], "and images without labels"),
    ([field("data", "sc:Integer", "table", "data")], "and no images [(]sc:ImageObject[)]")])
def test_what_has_no_classes_of_images_says_what_it_has(tmp_path: Path, fields: list[dict[str, object]],
                                                        match: str) -> None:
    describe(tmp_path, [table("t.csv"), images("*.png")], fields)
    with pytest.raises(SourceError, match=f"with the class of each image; .*{match}.*name one as label_field"):
        import_project("croissant", tmp_path / "p", root=tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_same_as_mlcroissant_reads(tmp_path: Path) -> None:
    library = pytest.importorskip("mlcroissant")
    for name in ("a.png", "b.png"):
        picture(tmp_path / "d/pics" / name)
    (tmp_path / "d/t.csv").write_text("file_name,label\npics/a.png,ant\npics/b.png,zebra\n")
    digest = hashlib.sha256((tmp_path / "d/t.csv").read_bytes()).hexdigest()
    file = describe(tmp_path / "d", [table("t.csv", sha256=digest)],
                    [field("file_name", "sc:Text", "table", "file_name"), field("label", "sc:Text", "table", "label")])
    import_project("croissant", tmp_path / "p", root=file)
    theirs = [(one["r/file_name"].decode(), one["r/label"].decode())
              for one in library.Dataset(jsonld=str(file)).records("r")]
    rows = read_manifest(tmp_path / "p")
    assert list(zip(rows["path"], rows["given_label"], strict=True)) == theirs
