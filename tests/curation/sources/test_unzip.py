"""A dropped zip: what is in it comes out under its folder, and a crafted one is refused whole and leaves nothing."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from curation.sources.unzip import unpack
from curation.tables.report import SourceError

PIXELS = b"\x89PNG pretended"


def packed(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


def test_images_tables_and_texts_come_out_and_the_rest_is_counted(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = unpack(packed(("data/cat/1.png", PIXELS), ("data/labels.csv", b"path,label\n"), ("data/run.py", b"boom"),
                          ("__MACOSX/data/1.png", b"x"), ("data/.hidden.png", b"x"), ("data/empty/", b"")),
                   tmp_path / "new", lambda done, total: seen.append((done, total)))
    files = sorted(str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*") if path.is_file())
    assert files == ["data/cat/1.png", "data/labels.csv"] and seen == [(1, 2), (2, 2)]
    assert (found.num_files, found.num_left_out) == (2, 3)
    assert (tmp_path / "new" / "data" / "cat" / "1.png").read_bytes() == PIXELS


@pytest.mark.parametrize(("name", "match"), [
    ("../evil.png", "must stay inside"), ("a/../../evil.png", "must stay inside"),
    ("/etc/evil.png", "must stay inside"),
    ("C:/evil.png", "must stay inside"), ("a\\..\\evil.png", "must stay inside"), ("..", "must stay inside")])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str, match: str) -> None:
    with pytest.raises(SourceError, match=match) as caught:
        unpack(packed(("good/1.png", PIXELS), (name, PIXELS)), tmp_path / "in" / "new")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*.png")) == [] and not (tmp_path / "in" / "new").exists()


def test_links_are_refused_even_those_that_point_inside(tmp_path: Path) -> None:
    for target in ("/etc", "cat"):
        with pytest.raises(SourceError, match="'here' is a link"):
            unpack(packed(("cat/1.png", PIXELS), link("here", target), ("here/2.png", PIXELS)), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_more_bytes_or_files_than_allowed_are_refused_and_nothing_stays(tmp_path: Path) -> None:
    bomb = packed(*((f"cat/{idx}.png", b"\0" * 100_000) for idx in range(10)))
    assert len(bomb.getvalue()) < 10_000
    with pytest.raises(SourceError, match="this one is larger"):
        unpack(bomb, tmp_path / "new", max_bytes=500_000)
    with pytest.raises(SourceError, match="may hold 5 files"):
        unpack(bomb, tmp_path / "new", max_files=5)
    assert not (tmp_path / "new").exists()


def test_a_size_that_lies_is_found_while_unpacking(tmp_path: Path) -> None:
    whole = packed(("cat/1.png", b"\0" * 100_000)).getvalue()
    lying = whole.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != whole
    with pytest.raises(SourceError, match="must be whole and readable|is larger"):
        unpack(io.BytesIO(lying), tmp_path / "new", max_bytes=50_000)
    assert not (tmp_path / "new").exists()


def test_a_list_of_names_longer_than_allowed_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("the list was read"))
    end = b"PK\x05\x06" + b"\0" * 8 + (2**31).to_bytes(4, "little") + b"\0" * 6
    with pytest.raises(SourceError, match="this one has more"):
        unpack(io.BytesIO(end), tmp_path / "new")


@pytest.mark.parametrize(("content", "match"), [
    (b"", "must be whole and readable"), (b"PK\x03\x04 no", "must be whole and readable"),
    (packed(("cat/1.png", PIXELS * 999)).getvalue()[:90], "must be whole and readable"),
    (packed(("notes.md", b"x")).getvalue(), "must hold images or a table"),
    (packed(("cat.png", PIXELS), ("cat.png/1.png", PIXELS)).getvalue(), "of a file and a folder at once")],
    ids=["empty", "cut at its start", "cut", "nothing to load", "a file and a folder"])  # a zip holds the time
def test_what_is_no_zip_of_data_is_one_line_and_leaves_nothing(tmp_path: Path, content: bytes, match: str) -> None:
    with pytest.raises(SourceError, match=match) as caught:
        unpack(io.BytesIO(content), tmp_path / "new")
    assert "\n" not in str(caught.value) and not (tmp_path / "new").exists()


def test_an_encrypted_one_is_refused(tmp_path: Path) -> None:
    whole = bytearray(packed(("cat/1.png", PIXELS)).getvalue())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(SourceError, match="must not be encrypted"):
        unpack(io.BytesIO(bytes(whole)), tmp_path / "new")


def test_a_damaged_one_is_one_line_whatever_it_is_packed_with(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("cat/1.png", bytes(range(256)) * 99)
        whole = bytearray(buffer.getvalue())
        whole[60:160] = (255 - byte for byte in whole[60:160])
        with pytest.raises(SourceError):
            unpack(io.BytesIO(bytes(whole)), tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_a_name_that_is_no_utf8_is_refused_in_one_line(tmp_path: Path) -> None:
    whole = packed(("\u00e9.png", PIXELS)).getvalue().replace("\u00e9".encode(), b"\xff\xfe")
    with pytest.raises(SourceError, match="must be whole and readable; 'utf-8' codec"):
        unpack(io.BytesIO(whole), tmp_path / "new")


def zip64(list_bytes: int | None = None) -> bytes:
    """As several packers write many files: the end says nothing, the ZIP64 record before it how long the list is."""
    whole = packed(("cat/1.png", PIXELS)).getvalue()
    at = whole.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<LL", whole[at + 12:at + 20])
    record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, list_bytes or size, start)
    return whole[:at] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1) + struct.pack(
        "<4s4H2LH", b"PK\x05\x06", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)


def test_zip64_says_in_its_own_record_how_long_the_list_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unpack(io.BytesIO(zip64()), tmp_path / "new").num_files == 1
    long = zip64(2**31)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(SourceError, match="this one has more"):
        unpack(io.BytesIO(long), tmp_path / "more")
