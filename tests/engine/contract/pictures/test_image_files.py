"""What strangers' pictures may be: regular files of raster formats, bounded in pixels, one by one and together."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.views.routes.thumbnails import encoded_thumbnail
from engine.contract import pixels
from engine.contract.pictures import image_files
from engine.contract.pictures.image_files import NotAnImageError, TooLargeError, open_image
from engine.contract.pixels import DEEP_MODES, to_rgb, to_rgb_for
from engine.data.image_cache import decode_images
from tests import ROOT
from tests.fakes import write_manifest
from tests.picture_files import black_png

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n0 0 8 8 rectfill\n%%EOF\n"


def test_a_pipe_is_refused_at_once_and_so_is_what_an_outside_program_would_decode(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "eps.jpg").write_bytes(EPS)
    with pytest.raises(NotAnImageError, match="must be a regular file"), open_image(tmp_path / "pipe.jpg"):
        pass
    with pytest.raises(NotAnImageError, match="must be a regular file"), open_image(Path("/dev/zero")):
        pass
    with pytest.raises(NotAnImageError, match="of a known format"), open_image(tmp_path / "eps.jpg"):
        pass
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    rows = pd.DataFrame({"sample_id": ["a", "b", "c"], "path": ["pipe.jpg", "eps.jpg", "good.png"],
                         "given_label": ["a", "a", "b"], "split": "train"})
    write_manifest(tmp_path, rows, ("a", "b"), root=".")
    images, bad = decode_images(tmp_path, rows, tmp_path, 8, lambda *_: None)
    assert sorted(bad) == [0, 1] and "regular file" in bad[0] and images.shape == (3, 3, 8, 8)


def test_too_many_pixels_are_refused_by_their_number_and_a_jpeg_wanted_small_is_not(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 5_000)
    Image.new("RGB", (100, 60)).save(tmp_path / "large.png")
    Image.new("RGB", (100, 60)).save(tmp_path / "large.jpg")
    with pytest.raises(TooLargeError, match="5,000 pixels; this one has 100 x 60"), \
            open_image(tmp_path / "large.png", 8):
        pass
    with open_image(tmp_path / "large.jpg", 8) as image:
        assert image.size == (50, 30)


def scans(num: int) -> bytes:
    """A progressive JPEG whose last scan comes so often."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 128).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    end = whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[whole.rindex(b"\xff\xc4"):end] * num + whole[end:]


def test_a_progressive_jpeg_of_many_scans_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_SCANNED", 64 * 64 * 20)
    with open_image(scans(3), 8) as image:
        image.load()
    with pytest.raises(TooLargeError, match="81,920 pixels times scans; this one has 4,096 pixels in 56 scans; save"), \
            open_image(scans(50), 8):
        pass


@pytest.mark.parametrize(("name", "options", "weight"), [
    ("a.webp", {}, 3), ("a.avif", {}, 3), ("a.jp2", {}, 4), ("a.jpg", {"progressive": True}, 2)])
def test_pixels_that_cost_more_count_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
                                          options: dict[str, bool], weight: int) -> None:
    if name == "a.avif" and "AVIF" not in image_files.formats():
        pytest.skip("this Pillow was built without AVIF")
    Image.new("RGB", (64, 64)).save(tmp_path / name, **options)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 64 * 64 * weight)
    with open_image(tmp_path / name, 8) as image:
        image.load()
    monkeypatch.setattr(image_files, "MAX_PIXELS", 64 * 64 * weight - 1)
    with pytest.raises(TooLargeError, match="an image may have 4,09[0-9] pixels in the format"), \
            open_image(tmp_path / name, 8):
        pass


def test_what_pillow_decodes_in_python_may_be_small_alone(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P3 2100 2100 255\n" + b"1 " * 40)
    with pytest.raises(TooLargeError, match="4,000,000 pixels in the format PPM"), open_image(tmp_path / "a.ppm"):
        pass


def test_pixels_in_memory_are_bounded_and_a_larger_image_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_decoding", image_files._Budget(100))
    held, most, seen = [], [], threading.Lock()

    def encoded(width: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", (width, 1)).save(buffer, "PNG")
        return buffer.getvalue()

    def decode(width: int) -> None:
        with open_image(encoded(width)):
            with seen:
                held.append(width)
                most.append(list(held))
            threading.Event().wait(0.005)
            with seen:
                held.remove(width)

    threads = [threading.Thread(target=decode, args=(width,)) for width in [40, 60, 30, 500, 99, 1] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 24
    assert all(sum(together) <= 100 or together == [500] for together in most)
    with pytest.raises(RuntimeError, match="codec"), open_image(encoded(100)):
        raise RuntimeError("codec")
    with open_image(encoded(100)):  # what failed gave its share back
        pass


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", *DEEP_MODES])
def test_a_large_image_in_strips_is_the_whole_reduced(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 256, (53, 37, 4), dtype=np.uint8)
    if mode in DEEP_MODES:
        kind = {"I": np.int32, "F": np.float32}.get(mode, np.dtype(">u2" if mode == "I;16B" else "<u2"))
        image = Image.frombytes(mode, (37, 53), rng.integers(0, 4000, (53, 37)).astype(kind).tobytes())
    else:
        image = Image.fromarray(values, "RGBA" if mode != "CMYK" else mode).convert(mode)
    monkeypatch.setattr(pixels, "LARGE", 500)
    monkeypatch.setattr(pixels, "_STRIP", 37 * 7)
    assert to_rgb_for(image, 18).size == (37, 53)  # its shorter side is not twice that
    found, expected = to_rgb_for(image, 6), to_rgb(image).reduce(3)
    assert found.size == expected.size == (13, 18)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


MEASURE = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from curation.views.routes.thumbnails import encoded_thumbnail
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda path: encoded_thumbnail(Path(path), 128), sys.argv[1:]))
assert all(kept.startswith(b"\\xff\\xd8") for kept in found), "a picture was not read"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_large_pictures_at_once_are_not_in_memory_together(tmp_path: Path) -> None:
    files = [tmp_path / f"{kind}-{copy}.png" for kind in ("RGBA", "I;16") for copy in range(3)]
    for file in files:
        file.write_bytes(black_png(file.name.split("-")[0], 9_400, 9_400))
    told = subprocess.run([sys.executable, "-c", MEASURE, *map(str, files)], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert int(told.stdout) < 800 * 1024, "KiB; together their pixels take 1,500 MiB"


def test_a_picture_of_too_many_pixels_is_seen_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(black_png("I;16", 13_000, 13_000))
    assert encoded_thumbnail(tmp_path / "a.png", 64) == encoded_thumbnail(tmp_path / "gone.png", 64)
