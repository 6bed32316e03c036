"""What the file of a picture says beyond its pixels: where it was taken, whose it is, how the camera was held. And the
same picture without that, upright, for a set that goes to strangers.

JPEG, PNG, WebP and JPEG 2000 lose it without being encoded anew; TIFF is, without loss; what lies on its side is, by
the tables of its own quality. Of other formats what they say stays and is counted.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from PIL import ExifTags, Image, ImageFile, ImageSequence, IptcImagePlugin, JpegImagePlugin

from curation.words import counted
from engine.contract.pictures.image_files import open_image
from engine.contract.pixels import orientation, upright

Metadata = Literal["strip", "keep"]
"""strip: upright and without what they say; keep: byte for byte as the data have them."""
METADATA: tuple[Metadata, ...] = get_args(Metadata)
_OWNERS = (ExifTags.Base.Artist, ExifTags.Base.Copyright, ExifTags.Base.XPAuthor, ExifTags.Base.CameraOwnerName,
           ExifTags.Base.BodySerialNumber, ExifTags.Base.LensSerialNumber)
_GPS = (ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLongitude)
_IPTC_OWNERS, _IPTC_PLACES = ((2, 80), (2, 116), (2, 110)), ((2, 90), (2, 92), (2, 95), (2, 101))
_XMP_OWNER = re.compile(rb"dc:creator|dc:rights|SerialNumber|OwnerName|xmpRights:Owner")
_XMP_PLACE = re.compile(rb"GPSL(?:at|ong)itude|photoshop:(?:City|Country)|Iptc4xmpCore:Location")
_TIFF_SAYS = {270, 271, 272, 306, 315, 316, 700, 33432, 33723, 34377, 34665, 34853, *range(40091, 40096)}
"""TIFF's own tags of what a picture shows, with what, when, by whom and where."""
_PIXELS = ("icc_profile", "transparency")
"""Of what Pillow knows about an image, that without which it would look otherwise."""
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
_PNG_KEPT = {b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"bKGD", b"hIST", b"tRNS", b"pHYs", b"sPLT", b"acTL",
             b"fcTL", b"fdAT", b"cICP", b"mDCV", b"cLLI"}
_WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What one file says."""

    has_place: bool
    has_owner: bool
    is_lying: bool
    """Its pixels are to be turned, which some readers do."""
    has_any: bool
    """These or anything else, such as a camera's name or a comment."""


@dataclass(kw_only=True, slots=True)
class Carried:
    """What the files of an export say: numbers of pictures."""

    metadata: Metadata
    num_changed: int = 0
    """Not byte for byte those of the data."""
    num_turned: int = 0
    """Of these, encoded anew."""
    num_places: int = 0
    num_owners: int = 0
    num_lying: int = 0
    num_left: int = 0
    """Pictures whose format cannot be freed of what they say, though that was asked."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter, compare=False)
    """Pictures by width and height in pixels."""

    def add(self, said: Said, size: tuple[int, int], *, is_changed: bool, is_turned: bool) -> None:
        """Count a picture as it is in the export."""
        self.sizes[size] += 1
        self.num_changed += is_changed
        self.num_turned += is_turned
        self.num_places += said.has_place
        self.num_owners += said.has_owner
        self.num_lying += said.is_lying
        self.num_left += said.has_any and self.metadata == "strip"


def carried_words(carried: Carried) -> list[str]:
    """A sentence each on what the pictures' files say, for a card, a command and a page."""
    if carried.metadata == "strip":
        lines = ["The pictures are upright and without EXIF, XMP and IPTC data: no place, no owner, no camera; their "
                 "colour profiles are there."]
        if carried.num_changed:
            lines.append(f"{counted(carried.num_changed, 'file')} said more and so {_is(carried.num_changed)} not byte "
                         f"for byte as in the data; {carried.num_turned:,} of them lay on a side and "
                         f"{'was' if carried.num_turned == 1 else 'were'} encoded anew, all others have the same "
                         "pixels.")
        if carried.num_left:
            lines.append(f"From {counted(carried.num_left, 'file')} it could not be taken, for their format: these "
                         "still say what they said.")
    else:
        lines = ["The pictures are byte for byte those of the data, with all that their files say."]
    if carried.num_places or carried.num_owners:
        lines.append(f"{counted(carried.num_places, 'file')} still {'says' if carried.num_places == 1 else 'say'} "
                     f"where the picture was taken, {carried.num_owners:,} whose it or the camera is: remove that "
                     "before you share them with people who must not know.")
    if carried.num_lying:
        lines.append(f"{counted(carried.num_lying, 'picture')} {'lies' if carried.num_lying == 1 else 'lie'} on a side "
                     "until EXIF's orientation is applied: `PIL.ImageOps.exif_transpose` does that, torchvision's "
                     "ImageFolder does not.")
    return lines


def _is(num: int) -> str:
    return "is" if num == 1 else "are"


def said_by(image: Image.Image) -> Said:
    """What the file of an opened image says, as far as Pillow can read it."""
    has_place = has_owner = is_unread = False
    try:
        exif = image.getexif()
        own = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
        has_owner = any(own.get(tag) for tag in _OWNERS)
        has_place = any(exif.get_ifd(ExifTags.IFD.GPSInfo).get(tag) for tag in _GPS)
        iptc = IptcImagePlugin.getiptcinfo(image) or {} if isinstance(image, ImageFile.ImageFile) else {}
        has_owner |= any(key in iptc for key in _IPTC_OWNERS)
        has_place |= any(key in iptc for key in _IPTC_PLACES)
    except Exception:  # Pillow raises whatever odd bytes lead it to: what they say nobody can tell
        is_unread = True
    tags = set(getattr(image, "tag_v2", ()))
    has_any = is_unread or bool(_TIFF_SAYS & tags) or any(
        image.info.get(key) for key in ("exif", "xmp", "photoshop", "comment"))
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    xmp = found.encode("utf-8", "replace") if isinstance(found, str) else bytes(found)
    return Said(has_place=has_place or bool(_XMP_PLACE.search(xmp)), is_lying=orientation(image) != 1,
                has_any=has_any, has_owner=has_owner or bool(_XMP_OWNER.search(xmp)))


def stripped(data: bytes) -> tuple[bytes, bool]:
    """(the file of a picture upright and without what it says, whether it was turned). The same bytes where it says
    nothing, or is of a format that cannot be freed of it. Raises what open_image and Pillow's codecs raise."""
    with open_image(data) as image:
        form, is_lying = str(image.format), orientation(image) != 1
        if is_lying or (form == "TIFF" and _TIFF_SAYS & set(getattr(image, "tag_v2", ()))):
            return _encoded(image, data), is_lying
    strip = _STRIPPED.get(form)
    return (strip(data) if strip else data), False


def _encoded(image: Image.Image, data: bytes) -> bytes:
    """The image upright, encoded anew in its format, with all its pages or frames; of JPEG the first picture."""
    options: dict[str, Any] = {}
    if image.format in ("JPEG", "MPO"):
        options = {"format": "JPEG", "qtables": getattr(image, "quantization", None),
                   "progressive": bool(image.info.get("progressive"))}
        if (sampling := JpegImagePlugin.get_sampling(image)) >= 0:
            options["subsampling"] = sampling
    elif image.format == "WEBP":
        options = {"quality": 95, "exact": True,
                   "lossless": any(kind == b"VP8L" for kind, _ in _chunks(data))}
    elif image.format == "AVIF":
        options = {"quality": 95}
    elif image.format == "TIFF":
        options = {"compression": "tiff_deflate"}
    options = {"format": image.format, **options}
    if "icc_profile" in image.info:
        options["icc_profile"] = image.info["icc_profile"]
    frames, times = list[Image.Image](), list[float]()
    for frame in ImageSequence.Iterator(image):
        frame.load()  # a TIFF turns itself upright
        pixels = upright(frame, frame).copy()
        pixels.info = {key: frame.info[key] for key in _PIXELS if key in frame.info}
        frames.append(pixels)
        times.append(frame.info.get("duration", 0))
        if options["format"] == "JPEG":
            break
    if len(frames) > 1:
        options |= {"save_all": True, "append_images": frames[1:], "duration": times,
                    "loop": image.info.get("loop", 0)}
    sink = io.BytesIO()
    frames[0].save(sink, **options)
    return sink.getvalue()


def _jpeg(data: bytes) -> bytes:
    """Without every segment of an application but JFIF's, the colour profile's and Adobe's transform, without comments,
    and without what follows the picture."""
    kept, at = [data[:2]], 2
    while found := _MARKER.search(data, at):
        code, start = found[1][0], found.end()
        kept.append(data[at:found.start()])  # of a scan; nothing between segments
        if code == 0xD9:
            return b"".join([*kept, b"\xff\xd9"])
        end = start + int.from_bytes(data[start:start + 2]) if code != 0x01 else start
        if not _is_said(code, data[start + 2:start + 16]):
            kept.append(data[found.start():end])
        at = end
    return b"".join([*kept, data[at:]])


def _is_said(code: int, start: bytes) -> bool:
    """Whether a JPEG's segment is about the picture and not of it. start: how its content begins."""
    if code == 0xE0:
        return not start.startswith(b"JFIF\0")
    if code == 0xE2:
        return not start.startswith(b"ICC_PROFILE\0")
    return code == 0xFE or (0xE1 <= code <= 0xEF and code != 0xEE)


def _png(data: bytes) -> bytes:
    """Without texts, times, EXIF and what follows the picture."""
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        kind, end = data[at + 4:at + 8], at + 12 + int.from_bytes(data[at:at + 4])
        if kind[:1].isupper() or kind in _PNG_KEPT:
            kept.append(data[at:end])
        at = len(data) if kind == b"IEND" else end
    return b"".join(kept)


def _webp(data: bytes) -> bytes:
    """Without the chunks EXIF and XMP, and any that is unknown."""
    kept = []
    for kind, chunk in _chunks(data):
        if kind == b"VP8X" and len(chunk) > 8:
            chunk = chunk[:8] + bytes([chunk[8] & ~0b1100]) + chunk[9:]  # neither EXIF nor XMP follows
        if kind in _WEBP_KEPT:
            kept.append(chunk)
    content = b"WEBP" + b"".join(kept)
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def _jpeg_2000(data: bytes) -> bytes:
    """Without the boxes of XML (XMP too) and of others' own content; a bare codestream stays as it is."""
    if data[4:8] != b"jP  ":
        return data
    kept, at = [], 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at:at + 4])
        size = int.from_bytes(data[at + 8:at + 16]) if size == 1 else size or len(data) - at
        if data[at + 4:at + 8] not in (b"xml ", b"uuid", b"uinf"):
            kept.append(data[at:at + size])
        at += max(size, 8)
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4:at + 8], "little")
        end = at + 8 + size + size % 2
        yield data[at:at + 4], data[at:end]
        at = end


_STRIPPED: dict[str, Callable[[bytes], bytes]] = {"JPEG": _jpeg, "MPO": _jpeg, "PNG": _png, "WEBP": _webp,
                                                 "JPEG2000": _jpeg_2000}
