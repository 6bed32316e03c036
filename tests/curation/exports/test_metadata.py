"""What pictures' files say of places, owners and orientation: gone from a set that is shared, or said beside it."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin
from torchvision.datasets import ImageFolder

from curation.__main__ import main
from curation.exports.exporting import export
from curation.exports.metadata import Carried, carried_words, said_by, stripped
from curation.exports.pack import FORMS
from curation.exports.pictures import picture_of
from curation.exports.staging import ExportError
from curation.project import Project
from curation.sources.importing import import_project
from tests.fakes import make_run

XMP = (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
       b'<rdf:Description exif:GPSLatitude="47,22N"><dc:creator>Ada Owner</dc:creator></rdf:Description></rdf:RDF>'
       b'</x:xmpmeta>')
SECRETS = (b"Ada Owner", b"SN-12345", b"GPSLatitude", b"Iptc Owner", b"a comment")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + (15).to_bytes(4) + b"\x1c\x02\x50\0\x0aIptc Owner\0"


def photo(kind: str = "JPEG", turn: int = 1, size: tuple[int, int] = (48, 32), **more: object) -> bytes:
    """A picture whose corners differ, with a place, an owner, a camera's number, a comment and a colour profile."""
    across = np.add.outer(np.linspace(0, 90, size[1]), np.linspace(0, 160, size[0]))
    image = Image.fromarray(np.stack([across, across[::-1], across[:, ::-1]], 2).astype(np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    exif[ExifTags.Base.Artist] = "Ada Owner"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = "SN-12345"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({ExifTags.GPS.GPSLatitudeRef: "N",
                                               ExifTags.GPS.GPSLatitude: (47.0, 22.0, 0.0)})
    options: dict[str, object] = {"exif": exif, "icc_profile": PROFILE, **more}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Author", "Ada Owner")  # type: ignore[attr-defined]
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())  # type: ignore[attr-defined]
    elif kind in ("JPEG", "WEBP"):
        options["xmp"] = XMP
    elif kind == "TIFF":  # into which Pillow writes no GPS
        options = {"tiffinfo": {274: turn, 315: "Ada Owner", 700: XMP}, "icc_profile": PROFILE}
    if kind == "JPEG":
        options["comment"] = "a comment"
    sink = io.BytesIO()
    image.save(sink, format=kind, **options)
    data = sink.getvalue()
    if kind == "JPEG":  # and IPTC's, and a film after the picture, as telephones put it
        data = data[:2] + b"\xff\xed" + (len(IPTC) + 2).to_bytes(2) + IPTC + data[2:] + b"film of Ada Owner"
    return data + (b"\0\0\0\x09VPAGAda Owner and more" if kind == "PNG" else b"")


def seen(data: bytes) -> np.ndarray:
    """The pixels as a person sees them: independent of what strips."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.int16)


@pytest.mark.parametrize("more", [{}, {"progressive": True}, {"subsampling": 0, "quality": 30}])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_upright_pictures_lose_what_they_say_and_no_pixel(kind: str, more: dict[str, object]) -> None:
    data = photo(kind, **(more if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as image:
        said = said_by(image)
    assert said.has_place and said.has_owner and not said.is_lying
    found, is_turned = stripped(data)
    assert not is_turned and not any(secret in found for secret in SECRETS)
    assert any(secret in data for secret in SECRETS), "or nothing was taken out"
    with Image.open(io.BytesIO(found)) as image:
        assert image.format == kind and image.info["icc_profile"] == PROFILE
        assert not image.getexif().get_ifd(ExifTags.IFD.GPSInfo) and not (kind != "TIFF" and image.getexif())
        said = said_by(image)
    assert not said.has_place and not said.has_owner
    assert kind != "WEBP" or not found[20] & 0b1100, "nothing that is announced is missing"
    np.testing.assert_array_equal(seen(found), seen(data))
    assert stripped(found)[0] == found or kind == "TIFF"


def test_a_picture_that_cannot_be_read_for_what_it_says_may_say_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Image.Image) -> Image.Exif:
        raise SyntaxError("not a TIFF file")

    with Image.open(io.BytesIO(photo("PNG"))) as image:
        bare = Image.open(io.BytesIO(stripped(photo("PNG"))[0]))
        assert said_by(image).has_any and not said_by(bare).has_any
        monkeypatch.setattr(Image.Image, "getexif", broken)
        monkeypatch.setattr(type(bare), "getexif", broken)
        assert said_by(bare).has_any


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_lies_on_its_side_is_upright_for_a_reader_that_knows_no_exif(kind: str, turn: int) -> None:
    data = photo(kind, turn, **({"lossless": True} if kind == "WEBP" else {}))
    found, is_turned = stripped(data)
    assert is_turned and not any(secret in found for secret in SECRETS)
    with Image.open(io.BytesIO(found)) as image:
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1 and image.info["icc_profile"] == PROFILE
        plain = np.asarray(image.convert("RGB"), dtype=np.int16)
    assert np.abs(plain - seen(data)).max() <= (12 if kind == "JPEG" else 0), "encoded anew by its own tables"


@pytest.mark.parametrize(("kind", "turn"), [("TIFF", 1), ("TIFF", 6), ("PNG", 6), ("WEBP", 6)])
def test_every_page_or_frame_is_there_and_upright(kind: str, turn: int) -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    pages = [Image.new("RGB", (48, 32), colour) for colour in colours]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = turn, "Ada Owner"
    sink = io.BytesIO()
    pages[0].save(sink, format=kind, save_all=True, append_images=pages[1:], exif=exif,
                  **({"lossless": True} if kind == "WEBP" else {}))
    data, is_turned = stripped(sink.getvalue())
    assert is_turned == (turn != 1) and b"Ada Owner" not in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == ((32, 48) if is_turned else (48, 32)) and image.n_frames == 3
        for number, colour in enumerate(colours):
            image.seek(number)
            np.testing.assert_allclose(np.asarray(image.convert("RGB"))[5, 5], colour, atol=2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_file_that_says_nothing_stays_byte_for_byte(kind: str) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (9, 7), (10, 200, 30)).save(sink, format=kind)
    assert stripped(sink.getvalue()) == (sink.getvalue(), False)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP"]), at=st.integers(0, 10**6), value=st.integers(0, 255),
       length=st.integers(0, 10**6))
def test_damage_raises_what_readers_of_pictures_expect_and_costs_no_sound_pixel(kind: str, at: int, value: int,
                                                                               length: int) -> None:
    data = bytearray(photo(kind, size=(16, 12)))
    data[at % len(data)] = value
    broken = bytes(data[:1 + length % len(data)])
    try:
        found = stripped(broken)[0]
    except (OSError, ValueError, SyntaxError):  # as of any picture that cannot be opened
        return
    try:
        before = seen(broken)
    except Exception:
        return
    np.testing.assert_array_equal(seen(found), before)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two photos of each class, one of them lying on its side; and one that says nothing."""
    base = tmp_path_factory.mktemp("said")
    for label in ("cat", "dog"):
        (base / "d" / label).mkdir(parents=True)
        (base / "d" / label / "up.jpg").write_bytes(photo())
        (base / "d" / label / "lying.jpg").write_bytes(photo(turn=6))
    Image.new("RGB", (8, 8)).save(base / "d/cat/plain.png")
    import_project("imagefolder", base / "p", root=base / "d")
    project = Project.open(base / "p")
    make_run(project)
    project.ledger().pin(project.manifest()["sample_id"].tolist(), "validation", who="ada")
    return project


def files_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("form", [*FORMS, "parquet"])
def test_no_form_of_a_set_carries_places_and_owners_unless_asked(project: Project, tmp_path: Path, form: str) -> None:
    run = project.run("first")
    result = export(project, run, "hard-validation", form, tmp_path / "out")
    assert result.carried == Carried(metadata="strip", num_changed=4, num_turned=2)
    assert not any(secret in files_in(tmp_path / "out") for secret in SECRETS)
    card = (tmp_path / "out/README.md").read_text()
    assert "upright and without EXIF" in card and "2 of them lay on a side and were encoded anew" in card
    kept = export(project, run, "hard-validation", form, tmp_path / "kept", metadata="keep")
    assert kept.carried == Carried(metadata="keep", num_places=4, num_owners=4, num_lying=2)
    card = (tmp_path / "kept/README.md").read_text()
    assert "4 files still say where the picture was taken, 4 whose" in card and "2 pictures lie on a side" in card
    assert SECRETS[0] in files_in(tmp_path / "kept")


def test_the_next_reader_sees_what_the_project_shows(project: Project, tmp_path: Path) -> None:
    export(project, project.run("first"), "hard-validation", "imagefolder", tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out/validation/metadata.csv").set_index("file_name")
    for (path, _), (image, _) in zip((data := ImageFolder(tmp_path / "out/validation")).samples, data, strict=True):
        row = rows.loc["/".join(path.split("/")[-2:])]
        assert image.size == (row["width"], row["height"])
        original = seen((project.root / row["original_path"]).read_bytes())
        assert np.abs(np.asarray(image, dtype=np.int16) - original).max() <= 12


def test_links_say_all_and_cannot_be_asked_not_to(project: Project, tmp_path: Path, capsys) -> None:
    command = ["export", str(project.path), "--run", "first", "--format", "coco", "--out"]
    assert main([*command, str(tmp_path / "linked"), "--pictures", "hardlink"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "byte for byte those of the data" in said and "4 files still say where" in said
    assert main([*command, str(tmp_path / "copied")]) == 0
    assert "no place, no owner" in capsys.readouterr().out
    with pytest.raises(ExportError, match="a link is the data's own file"):
        export(project, project.run("first"), "hard-validation", "coco", tmp_path / "x", placing="hardlink",
               metadata="strip")
    with pytest.raises(ExportError, match="only pictures have metadata; table has none"):
        export(project, project.run("first"), "hard-validation", "table", tmp_path / "x", metadata="strip")
    with pytest.raises(ExportError, match="metadata are one of strip, keep; got 'all'"):
        export(project, project.run("first"), "hard-validation", "coco", tmp_path / "x",
               metadata="all")  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def test_boxes_of_jpeg_2000_go_and_what_cannot_go_is_counted() -> None:
    sink = io.BytesIO()
    Image.new("RGB", (16, 12), (10, 200, 30)).save(sink, format="JPEG2000")
    plain = sink.getvalue()
    box = (8 + len(XMP)).to_bytes(4) + b"xml " + XMP
    assert stripped(plain[:12] + box + plain[12:] if plain[4:8] == b"jP  " else plain) == (plain, False)
    assert stripped(plain) == (plain, False) and plain[4:8] == b"jP  "
    exif, sink = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Model] = "a camera"
    Image.new("RGB", (16, 12), (10, 200, 30)).save(sink, format="AVIF", exif=exif)
    carried = Carried(metadata="strip")
    picture_of(stripped(sink.getvalue())[0], "a.avif", carried)
    assert carried.num_left == 1 and "From 1 file it could not be taken" in " ".join(carried_words(carried))
    picture_of(photo(), "a.jpg", carried)
    assert carried.num_left == 1, "of the others nothing is left"


def test_one_picture_is_one_picture_in_the_words() -> None:
    assert carried_words(Carried(metadata="keep", num_places=1, num_lying=1))[1:] == [
        "1 file still says where the picture was taken, 0 whose it or the camera is: remove that before you share them "
        "with people who must not know.",
        "1 picture lies on a side until EXIF's orientation is applied: `PIL.ImageOps.exif_transpose` does that, "
        "torchvision's ImageFolder does not."]
