"""The thumbnail route: it serves the manifest's pictures, at fixed sizes, and nothing else."""

import asyncio
import io
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Route

from curation.project import Project, list_projects
from curation.views.routes import thumbnails
from tests.fakes import make_project, write_manifest


def get(url: str, routes: list[Route] = thumbnails.ROUTES, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of a GET on an app that has these routes alone."""
    sent: list[Any] = []

    async def call() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        parts = urlsplit(url)
        scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": parts.path,
                 "raw_path": parts.path.encode(), "query_string": parts.query.encode(), "root_path": "",
                 "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
                 "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1)}
        await Starlette(routes=routes)(scope, receive, send)

    asyncio.run(call())
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:])


def picture(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(tmp_path / "home"))
    return Project.open(make_project(tmp_path / "home" / "pets"))


def test_a_small_image_is_enlarged_smoothly_and_on_request_to_crisp_pixels(project):
    file = Image.open(project.root / "train" / "00003.png")
    status, headers, body = get(thumbnails.thumbnail_url(project, "train-00003", 128, has_hard_pixels=True))
    assert (status, headers["content-type"]) == (200, "image/png")
    hard = np.asarray(picture(body)).astype(int)
    assert np.array_equal(hard, np.asarray(file).repeat(8, axis=0).repeat(8, axis=1))
    status, headers, body = get(thumbnails.thumbnail_url(project, "train-00003", 128))
    assert (status, headers["content-type"], picture(body).size) == (200, "image/jpeg", (128, 128))
    smooth = np.asarray(picture(body)).astype(int)
    steps = [np.abs(np.diff(pixels, axis=1)).max() for pixels in (smooth, hard)]
    assert steps[0] < steps[1] / 2, "no edge of a pixel is seen"
    assert np.abs(smooth.mean(axis=(0, 1)) - hard.mean(axis=(0, 1))).max() < 2, "the same picture"


def test_a_large_image_is_reduced_to_a_jpeg_that_keeps_its_shape(project):
    Image.new("RGB", (640, 320), "teal").save(project.root / "train" / "00003.png")
    status, headers, body = get(thumbnails.thumbnail_url(project, "train-00003", 128))
    assert (status, headers["content-type"], picture(body).size) == (200, "image/jpeg", (128, 64))


def test_the_browser_may_keep_it_privately_and_asks_again_with_its_tag(project):
    url = thumbnails.thumbnail_url(project, "train-00003", 64)
    _, headers, _ = get(url)
    assert headers["cache-control"].startswith("private")
    assert "access-control-allow-origin" not in headers
    assert get(url, if_none_match=headers["etag"])[0] == 304


def test_a_changed_file_gets_a_new_picture_and_a_new_tag(project):
    url = thumbnails.thumbnail_url(project, "train-00003", 64)
    first = get(url)
    Image.new("RGB", (16, 16), "white").save(project.root / "train" / "00003.png")
    second = get(url)
    assert first[1]["etag"] != second[1]["etag"]
    assert picture(second[2]).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("change", [
    {"project": "other"}, {"project": ""}, {"project": ".."}, {"project": "pets/../pets"}, {"project": "/etc"},
    {"id": "nothing"}, {"id": ""}, {"id": "train/00003.png"}, {"id": "../project.json"}, {"size": "129"},
    {"size": "-1"}, {"size": "x"}, {"size": ""},
])
def test_anything_that_is_not_in_the_manifest_is_a_plain_404(project, change):
    url = thumbnails.thumbnail_url(project, "train-00003", 64)
    query = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()} | change
    status, headers, body = get(f"{thumbnails.ROUTE_PATH}?{urlencode(query)}")
    assert (status, body) == (404, b"no such picture")


@pytest.mark.parametrize("path", ["../../secret.png", "/etc/passwd", "link.png", "folder/secret.png"])
def test_a_path_or_a_link_that_leaves_the_root_is_refused(project, tmp_path, path):
    Image.new("RGB", (16, 16)).save(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", project.root / "link.png")
    os.symlink(tmp_path, project.root / "folder")
    rows = project.manifest()
    rows.loc[0, "path"] = path
    write_manifest(project.path, rows, project.classes, root="images")
    assert get(thumbnails.thumbnail_url(project, rows["sample_id"][0], 64))[0] == 404


def test_a_project_that_is_reached_through_a_link_has_its_pictures_under_the_name_of_the_link(project, tmp_path):
    outside = make_project(tmp_path / "elsewhere", num_train=4)
    os.symlink(outside, tmp_path / "home" / "linked")
    opened = Project.open(tmp_path / "home" / "linked")
    assert opened.name == "linked" and [path.name for path in list_projects(tmp_path / "home")] == ["linked", "pets"]
    assert get(thumbnails.thumbnail_url(opened, "train-00000", 64))[0] == 200
    assert get(thumbnails.thumbnail_url(Project.open(outside), "train-00000", 64))[0] == 404, "it is not listed"


@pytest.mark.parametrize("name", ["", ".", "..", "../elsewhere", "linked/../../elsewhere", "/", "a\0b", "linked/",
                                  "nothing"])
def test_no_name_leads_out_of_the_projects(project, tmp_path, name):
    outside = make_project(tmp_path / "elsewhere", num_train=4)
    os.symlink(outside, tmp_path / "home" / "linked")
    query = urlencode({"project": name, "id": "train-00000", "size": 64})
    assert get(f"{thumbnails.ROUTE_PATH}?{query}")[0] == 404


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_a_damaged_or_missing_file_shows_a_crossed_square_that_is_not_kept(project, content):
    file = project.root / "train" / "00003.png"
    file.unlink() if content is None else file.write_bytes(content)
    status, headers, body = get(thumbnails.thumbnail_url(project, "train-00003", 64))
    assert (status, headers["cache-control"], picture(body).size) == (200, "no-store", (64, 64))


def test_ids_may_hold_any_character(project):
    rows = project.manifest()
    odd = ["a,b/c d.jpg", "../x", "<img src=x>", "caf\u00e9 & co?", "100%"]
    rows.loc[: len(odd) - 1, "sample_id"] = odd
    write_manifest(project.path, rows, project.classes, root="images")
    assert [get(thumbnails.thumbnail_url(project, sample_id, 64))[0] for sample_id in odd] == [200] * len(odd)


def test_images_inside_the_manifest_are_served(project):
    rows = project.manifest()
    encoded = [(project.root / path).read_bytes() for path in rows["path"]]
    embedded = pd.DataFrame({**rows.drop(columns="path"), "image": [{"bytes": b, "path": None} for b in encoded]})
    write_manifest(project.path, embedded, project.classes, root="images")
    status, _, body = get(thumbnails.thumbnail_url(project, "train-00005", 64, has_hard_pixels=True))
    assert status == 200
    assert np.asarray(picture(body))[::4, ::4].tolist() == np.asarray(picture(encoded[5])).tolist()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_pixel_format_becomes_rgb(project, mode):
    file = project.root / "train" / "00003.png"
    Image.new("L", (16, 16), 200).convert("L" if mode == "I;16" else mode).convert(mode).save(file, "TIFF")
    status, _, body = get(thumbnails.thumbnail_url(project, "train-00003", 64))
    assert (status, picture(body).mode) == (200, "RGB")


def test_a_size_that_is_not_offered_is_refused_with_the_list(project):
    with pytest.raises(thumbnails.MediaError, match="must be one of 64, 128, 256, 512; got 100"):
        thumbnails.thumbnail_url(project, "train-00003", 100)
