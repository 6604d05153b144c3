"""Media types by content: what the first bytes of a file say it is, whatever its name and declared type say.

Unknown content is `application/octet-stream`. Everything that is plain text and neither markup, JSON nor a script is
`text/plain`: CSV, Markdown and source code cannot be told apart by their bytes. The signatures are those of the
formats' own specifications; HTML is recognised as browsers do it (WHATWG MIME Sniffing, section 7.1).
"""

import re
from collections.abc import Callable
from typing import Final

from aupgate.inspection.spool import Spool

UNKNOWN: Final = "application/octet-stream"
PLAIN: Final = "text/plain"
ZIP: Final = "application/zip"

_HEAD: Final = 4096
"""Bytes from the start that are looked at; formats with a signature further on have a reader of their own below."""

_STARTS: Final = (
    # Programs.
    (b"\x7fELF", "application/x-elf"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\x00asm", "application/wasm"),
    (b"dex\n03", "application/x-dex"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "application/x-ms-shortcut"),
    # Images.
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"8BPS\x00", "image/vnd.adobe.photoshop"),
    (b"\x00\x00\x00\x0cJXL ", "image/jxl"),
    (b"\xff\x0a", "image/jxl"),
    (b"\x00\x00\x00\x0cjP  ", "image/jp2"),
    (b"\x76\x2f\x31\x01", "image/x-exr"),
    (b"AT&TFORM", "image/vnd.djvu"),
    (b"icns", "image/icns"),
    # Documents and data.
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"{\\rtf", "application/rtf"),
    (b"%!PS", "application/postscript"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    # Archives and compressed streams.
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"PK\x07\x08", ZIP),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x04\x22\x4d\x18", "application/x-lz4"),
    (b"\x02\x21\x4c\x18", "application/x-lz4"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"MSCF\x00\x00\x00\x00", "application/vnd.ms-cab-compressed"),
    (b"ISc(", "application/vnd.ms-cab-compressed"),
    (b"!<arch>\n", "application/x-archive"),
    (b"\xed\xab\xee\xdb", "application/x-rpm"),
    (b"xar!\x00", "application/x-xar"),
    # Sound and film.
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"#!AMR", "audio/amr"),
    (b"#!SILK_V3", "audio/silk"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    # Fonts.
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"OTTO\x00", "font/otf"),
    (b"ttcf\x00", "font/collection"),
    (b"\x00\x01\x00\x00\x00", "font/ttf"),
)

_STARTS_BY_BYTE: Final = {
    each[:1]: tuple((start, type_) for start, type_ in _STARTS if start[0] == each[0]) for each, _ in _STARTS
}

_CHUNKED: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS: Final = {
    b"heic": "image/heic", b"heix": "image/heic", b"heim": "image/heic", b"heis": "image/heic", b"hevc": "image/heic",
    b"mif1": "image/heif", b"msf1": "image/heif", b"avif": "image/avif", b"avis": "image/avif",
    b"crx ": "image/x-canon-cr3", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime",
}  # fmt: skip
_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


def detect(content: Spool) -> str:
    """Return the media type of `content`. A ZIP is `application/zip`: what it is more exactly, its entries say."""
    return detect_signature(content) or _text(content.read(0, _HEAD))


def detect_signature(content: Spool) -> str:
    """Return the media type that a signature in `content` says; empty for text, and for what is unknown."""
    head = content.read(0, _HEAD)
    first = head[:1]
    for start, type_ in _STARTS_BY_BYTE.get(first, ()):
        if head.startswith(start):
            return type_
    for look in _READERS if first in _FIRST_BYTES else _ANY_BYTE:
        if type_ := look(head):
            return type_
    return _far(content)


def _program(head: bytes) -> str:
    if head.startswith(b"MZ") and len(head) >= 0x40:
        at = int.from_bytes(head[0x3C:0x40], "little")
        return "application/vnd.microsoft.portable-executable" if head[at : at + 2] in _NEW_HEADERS else _dos(head)
    if head.startswith(b"\xca\xfe\xba\xbe"):
        # A universal binary counts its architectures where a class file has its version, which is never below 45.
        count = int.from_bytes(head[4:8], "big")
        return "application/x-mach-binary" if 0 < count < 40 else "application/java-vm"
    return ""


_NEW_HEADERS: Final = (b"PE", b"NE", b"LE", b"LX")


def _dos(head: bytes) -> str:
    return "" if is_text(head) else "application/x-dosexec"


def _image(head: bytes) -> str:
    if head.startswith(b"RIFF"):
        return _CHUNKED.get(head[8:12], "")
    if head.startswith(b"FORM"):
        return "audio/aiff" if head[8:12] in (b"AIFF", b"AIFC") else ""
    if head.startswith(b"BM") and head[6:10] == b"\x00\x00\x00\x00" and not is_text(head):
        return "image/bmp"
    if head[:4] in (b"\x00\x00\x01\x00", b"\x00\x00\x02\x00") and 0 < int.from_bytes(head[4:6], "little") < 256:
        return "image/vnd.microsoft.icon"
    return ""


def _boxes(head: bytes) -> str:
    kind = head[4:8]
    if kind == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    return "video/quicktime" if kind in _ATOMS and head[0] == 0 else ""


def _film(head: bytes) -> str:
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "video/mp2t"
    return ""


def _sound(head: bytes) -> str:
    """Recognise MPEG audio without a tag by one legal frame header. Sound is let pass anyway."""
    if len(head) < 4 or head[0] != 0xFF:
        return ""
    if head[1] & 0xF6 == 0xF0:
        return "" if is_text(head) else "audio/aac"
    legal = head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[1] & 0x18 != 0x08 and head[2] & 0xF0 != 0xF0
    return "audio/mpeg" if legal and head[2] & 0x0C != 0x0C and not is_text(head) else ""


def _pdf(head: bytes) -> str:
    # ISO 32000-2, annex: readers accept the header anywhere in the first 1,024 bytes, so it must be found there.
    return "application/pdf" if 0x25 in head and b"%PDF-" in head[:1024] else ""


def _compressed(head: bytes) -> str:
    if re.match(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", head):
        return "application/x-bzip2"
    # A skippable frame, which parallel zstd begins with (RFC 8878).
    return "application/zstd" if re.match(rb"[\x50-\x5f]\x2a\x4d\x18", head) else ""


def _book(head: bytes) -> str:
    return "application/x-mobipocket-ebook" if head[60:68] == b"BOOKMOBI" else ""


def _tar(head: bytes) -> str:
    return "application/x-tar" if not head[148:156].strip(_CHECKSUM) and is_tar_header(head[:512]) else ""


_CHECKSUM: Final = b" \x0001234567"
"""What the field with the checksum of a tar header is made of."""


def is_tar_header(block: bytes) -> bool:
    """Return True for a tar header of any age: its checksum holds (POSIX.1-1988 and before)."""
    if len(block) < 512 or not block[0]:
        return False
    field = block[148:156].strip(b" \x00")
    if not _OCTAL(field):
        return False
    plain = sum(block) - sum(block[148:156]) + 8 * 0x20
    # Some old programs summed signed bytes, and readers accept either.
    signed = plain - 256 * sum(byte >= 0x80 for byte in block[:148] + block[156:512])
    return int(field, 8) in (plain, signed)


_OCTAL: Final = re.compile(rb"[0-7]{1,7}").fullmatch

_Readers = tuple[Callable[[bytes], str], ...]
_READERS: Final[_Readers] = (_program, _image, _boxes, _film, _sound, _pdf, _compressed, _book, _tar)
_ANY_BYTE: Final[_Readers] = (_boxes, _pdf, _book, _tar)
"""The readers that say nothing of the first byte, or that it is zero."""
_FIRST_BYTES: Final = frozenset(
    {b"M", b"\xca", b"R", b"F", b"B", b"\x00", b"\x1a", b"G", b"\xff", *(b"%c" % byte for byte in range(0x50, 0x60))}
)
"""First bytes of what all others recognise."""


def _far(content: Spool) -> str:
    """Recognise a CD image, whose signature stands behind sixteen unused sectors, and a tar of no files."""
    if content.size > 0x8001 and content.read(0x8001, 5) in (b"CD001", b"BEA01", b"NSR02", b"NSR03"):
        return "application/x-iso9660-image"
    empty = content.size in _EMPTY_TARS and not content.read(0, content.size).strip(b"\x00")
    return "application/x-tar" if empty else ""


_EMPTY_TARS: Final = (1024, 10_240)
"""Sizes of a tar of no files, which is all zeros: two blocks, or the twenty that programs write at a time."""


# What text may hold besides printable characters: tab, line ends, form feed, backspace, escape (terminal colours), and
# the end of file that DOS wrote (0x1A).
_TEXT: Final = bytes({*range(0x08, 0x0E), 0x1A, 0x1B, *range(0x20, 0x100)} - {0x7F})
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_ANY_BOM: Final = tuple(mark for mark, _ in _BOMS)


def is_text(head: bytes) -> bool:
    """Return True when `head` holds no control character that text has no use for; UTF-16 needs its byte order mark."""
    return bool(head) and not _narrow(head).translate(None, _TEXT)


def _narrow(head: bytes) -> bytes:
    """Return `head` without its byte order mark, and UTF-16 as UTF-8."""
    if not head.startswith(_ANY_BOM):
        return head
    mark, encoding = next(bom for bom in _BOMS if head.startswith(bom[0]))
    return head[len(mark) :].decode(encoding, "replace").encode("utf-8", "replace")


# Every expression in this file looks at 4 KiB at most, and takes time linear in that.
_HTML: Final = re.compile(
    rb"<(?:!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[\s>/-]", re.IGNORECASE
).match
_XML_ROOT: Final = re.compile(rb"<(?:[a-z]+:)?(svg|html)[\s>]", re.IGNORECASE).search
_XML_START: Final = re.compile(rb"<(?:\?xml\s|svg[\s>]|!doctype\s)", re.IGNORECASE).match
_JSON: Final = re.compile(rb'\{\s*["}]|\[\s*["\[{\]0-9tfn-]').match
_PHP: Final = re.compile(rb"<\?(?:php\b|=)", re.IGNORECASE).match


def _text(head: bytes) -> str:
    text = _narrow(head)
    if not head or text.translate(None, _TEXT):
        return UNKNOWN
    if text.startswith(b"#!"):
        return "text/x-script"
    text = text.lstrip()
    if _PHP(text):
        return "application/x-httpd-php"
    if text.startswith(b"<"):
        return _markup(text)
    return "application/json" if _JSON(text) else PLAIN


def _markup(text: bytes) -> str:
    root = _XML_ROOT(text)
    if _XML_START(text) and not _HTML(text):
        kind = root[1].lower() if root else b""
        return {b"svg": "image/svg+xml", b"html": "application/xhtml+xml"}.get(kind, "application/xml")
    if _HTML(text):
        # A comment may stand before the root of a drawing.
        return "image/svg+xml" if text.startswith(b"<!--") and root and root[1].lower() == b"svg" else "text/html"
    return PLAIN


_ZIP_PARTS: Final = (
    ("word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)
_OPEN_PACKAGE: Final = "application/vnd.openxmlformats-package"


def zip_type(names: "list[str]", mimetype: str = "") -> str:
    """Return what a ZIP with entries of these `names` is; `mimetype` is the content of its first entry, if named so.

    Office Open XML has `[Content_Types].xml` (ECMA-376 part 2), OpenDocument and EPUB an entry `mimetype`, Java and
    Android their manifests.
    """
    if mimetype.startswith(("application/vnd.oasis.opendocument.", "application/epub+zip")):
        return mimetype
    if "AndroidManifest.xml" in names:
        return "application/vnd.android.package-archive"
    if "META-INF/MANIFEST.MF" in names:
        return "application/java-archive"
    if "[Content_Types].xml" not in names:
        return ZIP
    return next((kind for part, kind in _ZIP_PARTS if any(name.startswith(part) for name in names)), _OPEN_PACKAGE)
