"""Pictures in the modes and formats that people have: what can be read loads as it looks, what cannot is named."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from curation.exit_status import DONE, LOST
from curation.project import Project
from engine.contract.pictures.image_files import open_image
from engine.contract.pixels import to_rgb
from tests.curation.cases.bring import bring
from tests.picture_files import image_bytes, write_image

SIZE = 32


def scene() -> Image.Image:
    """A red square on dark ground."""
    pixels = np.full((SIZE, SIZE, 3), 30, np.uint8)
    pixels[8:20, 8:20] = (220, 40, 40)
    return Image.fromarray(pixels)


def tiff(pixels: np.ndarray, bits: int, photometric: int, extra: tuple[int, ...] = ()) -> bytes:
    """A TIFF of one strip, little endian: kinds that Pillow reads or not, and does not write."""
    height, width, num = pixels.shape
    data, blob, out = pixels.tobytes(), b"", b""
    entries = [(256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * num), (259, 3, [1]), (262, 3, [photometric]),
               (273, 4, [0]), (277, 3, [num]), (278, 3, [height]), (279, 4, [len(data)]), (284, 3, [1])]
    entries += [(338, 3, list(extra))] if extra else []
    start = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        raw = b"".join(struct.pack("<H" if kind == 3 else "<I", value) for value in values)
        out += struct.pack("<HHI", tag, kind, len(values))
        if tag == 273:
            out += b"DATA"
        elif len(raw) <= 4:
            out += raw.ljust(4, b"\0")
        else:
            out += struct.pack("<I", start + len(blob))
            blob += raw
    out = out.replace(b"DATA", struct.pack("<I", start + len(blob)))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + out + struct.pack("<I", 0) + blob + data


def write_all(folder: Path) -> set[str]:
    """Every kind; the names of those that cannot be read."""
    picture = scene()
    grey = np.asarray(picture.convert("L")).astype(np.float32)
    fraction = grey / 255
    holes = fraction.copy()
    holes[0, 0] = np.nan
    arrays = {"float01.tif": fraction, "float_signed.tif": fraction * 2 - 1, "float_nan.tif": holes,
              "float_large.tif": grey * 10, "u16.png": (grey * 257).astype(np.uint16),
              "u12in16.tif": (grey * 16).astype(np.uint16), "u16_low.tif": (fraction * 200).astype(np.uint16),
              "i32.tif": (grey * 1000).astype(np.int32)}
    for name, values in arrays.items():
        Image.fromarray(values).save(folder / name)
    lab = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
                                    outputMode="LAB")
    assert lab is not None
    lab.save(folder / "lab.tif")
    for mode, name in (("CMYK", "cmyk.jpg"), ("CMYK", "cmyk.tif"), ("YCbCr", "ycbcr.jpg"), ("LA", "la.png"),
                       ("1", "bit.png"), ("1", "bit.tif"), ("RGBA", "rgba.png"), ("P", "palette.png")):
        picture.convert(mode).save(folder / name)
    picture.quantize(16).save(folder / "transparent.png", transparency=0)
    frames = [picture.rotate(90 * turn) for turn in range(1, 4)]
    for name in ("anim.gif", "anim.webp", "anim.png", "stack.tif"):
        picture.save(folder / name, save_all=True, append_images=frames)
    for name in ("x.jp2", "x.avif", "x.webp", "x.bmp", "x.ppm"):
        picture.save(folder / name)
    for name in ("x.jfif", "x.JPG", "x.JPEG"):
        picture.save(folder / name, format="JPEG")
    rgb = np.asarray(picture)
    (folder / "bands4.tif").write_bytes(tiff(np.dstack([rgb, rgb[..., :1]]), 8, 2, (0,)))
    (folder / "rgb16.tif").write_bytes(tiff(rgb.astype(np.uint16) * 257, 16, 2))
    Image.new("RGB", (1, 1), "red").save(folder / "one_pixel.png")
    Image.new("RGB", (3000, 3), "red").save(folder / "strip.png")
    packed = io.BytesIO()
    picture.save(packed, "WEBP")
    (folder / "webp_named.jpg").write_bytes(packed.getvalue())
    bad = {"bands5.tif": tiff(np.dstack([rgb, rgb[..., :2]]), 8, 1, (0, 0, 0, 0)), "empty.jpg": b"",
           "html.jpg": b"<!DOCTYPE html><html><body>404</body></html>", "noext": image_bytes(".jpg"),
           "iphone.heic": b"\0\0\0\x18ftypheic" + bytes(100), "truncated.jpg": image_bytes(".jpg", size=64)[:-300],
           "page.svg": b"<svg/>"}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    return set(bad)


def test_what_can_be_read_loads_as_it_looks_and_what_cannot_is_named(tmp_path: Path) -> None:
    (tmp_path / "data" / "a").mkdir(parents=True)
    write_image(tmp_path / "data" / "b" / "0.png")
    bad = write_all(tmp_path / "data" / "a")
    (tmp_path / "data" / "a" / "doc.pdf").write_bytes(b"%PDF-1.4")
    found = bring("imagefolder", tmp_path / "data", tmp_path / "p")
    report = Project.open(tmp_path / "p").import_report()
    assert found.status == LOST
    assert {Path(name).name for name in report["file"][report["action"] == "skipped"]} == bad
    assert report["reason"].str.len().min() > 5 and not report["reason"].str.contains("\n").any()
    lost = {path.name for path in (tmp_path / "data" / "a").iterdir()} - bad - {"doc.pdf"} - {
        Path(path).name for path in found.rows["path"]}
    assert not lost
    for path in found.rows["path"]:
        with open_image(tmp_path / "data" / path) as image:
            pixels = np.asarray(to_rgb(image)).astype(int)
        assert pixels.max() > 60, f"{path} is not black"
        if pixels.shape == (SIZE, SIZE, 3):
            assert pixels[8:20, 8:20].mean() > pixels[:8].mean() + 20, f"{path} shows the square"


def test_phone_pictures_are_upright(tmp_path: Path) -> None:
    up = Image.new("RGB", (48, 48), "black")
    up.paste((255, 0, 0), (0, 0, 48, 20))
    up.paste((0, 0, 255), (0, 28, 48, 48))
    (tmp_path / "data" / "up").mkdir(parents=True)
    for held, back in ((1, 0), (3, 180), (6, 90), (8, 270)):
        exif = Image.Exif()
        exif[0x0112] = held
        up.rotate(back, expand=True).save(tmp_path / "data" / "up" / f"{held}.jpg", exif=exif, quality=95)
    write_image(tmp_path / "data" / "other" / "0.png")
    found = bring("imagefolder", tmp_path / "data", tmp_path / "p")
    assert (found.status, len(found.rows)) == (DONE, 5)
    for held in (1, 3, 6, 8):
        with open_image(tmp_path / "data" / "up" / f"{held}.jpg") as image:
            pixels = np.asarray(to_rgb(image)).astype(int)
        np.testing.assert_allclose([pixels[5, 24], pixels[43, 24]], [[255, 0, 0], [0, 0, 255]], atol=30)
