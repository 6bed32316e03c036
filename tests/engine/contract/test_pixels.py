"""Images as RGB: values of every mode, and that people and training are shown the same pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.project import Project
from curation.views.routes.thumbnails import thumbnail
from engine.contract.pictures.image_files import NotAnImageError, open_image
from engine.contract.pixels import GROUND, to_rgb, to_rgb_for
from engine.data.image_cache import decode_images
from tests.fakes import write_manifest

SIDE = 64  # a thumbnail of that size is the picture itself


def rgb(image: Image.Image) -> list[tuple[int, ...]]:
    """The pixels of the first line."""
    found = to_rgb(image)
    assert found.mode == "RGB" and found.size == image.size
    return [tuple(map(int, pixel)) for pixel in np.asarray(found)[0]]


def grey(*values: int) -> list[tuple[int, ...]]:
    return [(value,) * 3 for value in values]


@pytest.mark.parametrize(("values", "dtype", "expected"), [
    ([0, 90, 255], np.uint8, [0, 90, 255]), ([0, 300, 600], np.uint16, [0, 127, 255]),
    ([1000, 1300, 1600], np.uint16, [0, 127, 255]), ([0, 90, 255], np.uint16, [0, 90, 255]),
    ([700, 700, 700], np.uint16, [255, 255, 255]), ([-200, 50, 310], np.int32, [0, 125, 255]),
    ([-5, 90, 200], np.int32, [0, 90, 200]), ([0.0, 0.5, 1.0], np.float32, [0, 127, 255]),
    ([0.0, 0.25, 0.5], np.float32, [0, 63, 127]), ([-1.0, 0.0, 1.0], np.float32, [0, 127, 255]),
    ([-2.5, 90.9, 255.0], np.float32, [0, 90, 255]), ([0.0, 2000.0, 4000.0], np.float32, [0, 127, 255]),
    ([-3.0, 0.0, 3.0], np.float32, [0, 127, 255]), ([0.5, np.nan, np.inf], np.float32, [127, 0, 255]),
    ([np.nan, np.nan, np.nan], np.float32, [0, 0, 0]), ([0.0, 0.0, 0.0], np.float32, [0, 0, 0])])
def test_deep_greys_keep_bytes_and_fractions_and_are_stretched_elsewhere(values, dtype, expected) -> None:
    assert rgb(Image.fromarray(np.array([values], dtype=dtype))) == grey(*expected)


def test_transparency_lies_over_the_ground() -> None:
    rgba = np.array([[[200, 10, 10, 255], [200, 10, 10, 0], [0, 0, 0, 128]]], dtype=np.uint8)
    assert rgb(Image.fromarray(rgba)) == [(200, 10, 10), GROUND, (113, 116, 115)]
    with_alpha = Image.merge("LA", [Image.fromarray(np.array([[7, 7]], dtype=np.uint8)),
                                    Image.fromarray(np.array([[255, 0]], dtype=np.uint8))])
    assert rgb(with_alpha) == [(7, 7, 7), GROUND]
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).convert("P")
    palette.putpalette([9, 8, 7, 1, 2, 3])
    assert rgb(palette) == [(9, 8, 7), (1, 2, 3)]
    palette.info["transparency"] = 1
    assert rgb(palette) == [(9, 8, 7), GROUND]


def test_inks_become_light() -> None:
    assert rgb(Image.fromarray(np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8), "CMYK")) \
        == [(255, 255, 255), (0, 255, 255), (0, 0, 0)]


def pictures(folder: Path) -> list[str]:
    """Files of every mode that a data set may bring, each SIDE pixels wide and high; their names."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    grey_values = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    alpha = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8))
    deep = grey_values.astype(np.uint16) * 200
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter turn
    Image.fromarray(grey_values).save(folder / "l.png")
    Image.merge("LA", [Image.fromarray(grey_values), alpha]).save(folder / "la.png")
    Image.merge("RGBA", [*colour.split(), alpha]).save(folder / "rgba.png")
    colour.quantize(64).save(folder / "p.png", transparency=3)
    colour.convert("CMYK").save(folder / "cmyk.tif")
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep.astype(np.int32)).save(folder / "int.tif")
    Image.fromarray(deep.astype(np.float32)).save(folder / "float.tif")
    colour.save(folder / "turned.png", exif=turned)
    colour.convert("1").save(folder / "bits.png")
    colour.save(folder / "colour.jpg")
    return sorted(path.name for path in folder.iterdir())


def test_people_see_the_pixels_that_training_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "home" / "pets"
    (project / "images").mkdir(parents=True)
    names = pictures(project / "images")
    rows = pd.DataFrame({"sample_id": names, "path": names, "given_label": "cat", "split": "train"})
    write_manifest(project, rows, ("cat", "dog"), root="images")
    (project / "project.json").write_text("{}")
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(project.parent))
    trained, unreadable = decode_images(project, rows, Project.open(project).root, SIDE, lambda *_: None)
    assert not unreadable
    for row, name in enumerate(names):
        with Image.open(project / "images" / name) as image:
            expected = np.asarray(to_rgb(image))
        np.testing.assert_array_equal(trained[row].transpose(1, 2, 0), expected, err_msg=name)
        encoded, _ = thumbnail(project, name, SIDE)
        (tmp_path / "shown.png").write_bytes(encoded)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "shown.png")), expected, err_msg=name)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("held", range(1, 9))
def test_all_orientations_are_upright(tmp_path: Path, suffix: str, held: int) -> None:
    """Red above, and above left of it green: as the camera saw it, however it was held."""
    picture = Image.new("RGB", (48, 32), "blue")
    picture.paste((255, 0, 0), (0, 0, 48, 16))
    picture.paste((0, 255, 0), (0, 0, 16, 16))
    back = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = held
    stored = picture.transpose(back[held]) if held in back else picture
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **{"quality": 95} if suffix in ("jpg", "webp") else {})
    with open_image(tmp_path / f"a.{suffix}", 16) as image:
        found = np.asarray(to_rgb_for(image, 16)).astype(int)
    assert found.shape == (32, 48, 3) and np.abs(found - np.asarray(picture)).mean() < 8


def test_odd_orientations_are_none() -> None:
    for value in (0, 9, "x"):
        image = Image.new("RGB", (4, 2))
        image.getexif()[0x0112] = value
        assert to_rgb(image).size == (4, 2)


@pytest.mark.parametrize(("head", "words"), [
    (b"\0\0\0\x18ftypheic", "this file is HEIC; convert it"), (b"<!DOCTYPE html>", "is HTML or XML; convert"),
    (b"II*\0\x08\0\0\0\0\0", "is TIFF of a kind that Pillow cannot read"), (b"nothing", "this file is of none"),
    (b"\0\0\0\x1cftypavif", "is AVIF, which this machine's Pillow was built without")])
def test_what_cannot_be_opened_is_called_by_its_name(head: bytes, words: str, monkeypatch) -> None:
    monkeypatch.setattr("engine.contract.pictures.image_files.formats", lambda: ("JPEG", "PNG", "TIFF"))
    with pytest.raises(NotAnImageError, match=words), open_image(head + bytes(60)):
        pass
