"""What files are, by their content alone."""

import bz2
import lzma
import struct
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.inspection.signatures import detect, is_tar_header, is_text, zip_type
from tests.gateway.inspection.files import (
    CLASS,
    ELF,
    HTML,
    MACH_O,
    OLE,
    PE,
    SVG,
    UNIVERSAL,
    animation,
    gzipped,
    noise,
    office,
    pdf,
    picture,
    spooled,
    tarred,
    zipped,
)

UNKNOWN = "application/octet-stream"


def boxed(brand: bytes) -> bytes:
    return struct.pack(">I4s4s", 24, b"ftyp", brand) + bytes(12) + noise(50)


CONTENT = {
    "an ELF program": (ELF, "application/x-elf"),
    "a Windows program": (PE, "application/vnd.microsoft.portable-executable"),
    "a DOS program": (b"MZ" + bytes(62) + noise(100), "application/x-dosexec"),
    "a Mach-O program": (MACH_O, "application/x-mach-binary"),
    "a universal binary": (UNIVERSAL, "application/x-mach-binary"),
    "a Java class": (CLASS, "application/java-vm"),
    "WebAssembly": (b"\x00asm\x01\x00\x00\x00", "application/wasm"),
    "a shell script": (b"#!/bin/sh\nrm -rf /\n", "text/x-script"),
    "a PHP page": (b"\n<?php echo 1;", "application/x-httpd-php"),
    "PNG": (picture("PNG"), "image/png"),
    "JPEG": (picture("JPEG"), "image/jpeg"),
    "GIF": (animation(), "image/gif"),
    "WebP": (picture("WEBP"), "image/webp"),
    "BMP": (picture("BMP"), "image/bmp"),
    "TIFF": (picture("TIFF"), "image/tiff"),
    "an icon": (picture("ICO"), "image/vnd.microsoft.icon"),
    "JPEG 2000": (picture("JPEG2000"), "image/jp2"),
    "HEIC": (boxed(b"heic"), "image/heic"),
    "AVIF": (boxed(b"avif"), "image/avif"),
    "PDF": (pdf(), "application/pdf"),
    "PDF behind junk": (b"\x00" * 900 + pdf(), "application/pdf"),
    "an old office document": (OLE, "application/x-ole-storage"),
    "RTF": (b"{\\rtf1\\ansi hello}", "application/rtf"),
    "PostScript": (b"%!PS-Adobe-3.0\n", "application/postscript"),
    "SQLite": (b"SQLite format 3\x00" + noise(90), "application/vnd.sqlite3"),
    "ZIP": (zipped({"a": b"b"}), "application/zip"),
    "an empty ZIP": (zipped({}), "application/zip"),
    "an office document": (office(), "application/zip"),
    "gzip": (gzipped(b"x"), "application/gzip"),
    "bzip2": (bz2.compress(b"x"), "application/x-bzip2"),
    "empty bzip2": (bz2.compress(b""), "application/x-bzip2"),
    "xz": (lzma.compress(b"x"), "application/x-xz"),
    "tar": (tarred({"a": b"b"}), "application/x-tar"),
    "GNU tar": (tarred({"a": b"b"}, tarfile.GNU_FORMAT), "application/x-tar"),
    "zstd": (b"\x28\xb5\x2f\xfd" + noise(20), "application/zstd"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + noise(20), "application/x-7z-compressed"),
    "RAR": (b"Rar!\x1a\x07\x01\x00", "application/vnd.rar"),
    "a cabinet": (b"MSCF\x00\x00\x00\x00" + noise(20), "application/vnd.ms-cab-compressed"),
    "a Debian package": (b"!<arch>\ndebian-binary   ", "application/x-archive"),
    "a CD image": (bytes(0x8001) + b"CD001" + bytes(100), "application/x-iso9660-image"),
    "MP3 with a tag": (b"ID3\x04" + bytes(20), "audio/mpeg"),
    "MP3": (b"\xff\xfb\x90\x64" + bytes(400), "audio/mpeg"),
    "AAC": (b"\xff\xf1\x50\x80" + bytes(40), "audio/aac"),
    "FLAC": (b"fLaC\x00\x00\x00\x22", "audio/flac"),
    "Ogg": (b"OggS\x00\x02" + bytes(30), "application/ogg"),
    "WAV": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
    "AIFF": (b"FORM\x00\x00\x00\x24AIFFCOMM", "audio/aiff"),
    "AMR, which begins like a script": (b"#!AMR\n" + noise(30), "audio/amr"),
    "MP4": (boxed(b"isom"), "video/mp4"),
    "MP4 sound": (boxed(b"M4A "), "audio/mp4"),
    "QuickTime": (boxed(b"qt  "), "video/quicktime"),
    "QuickTime without a brand": (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", "video/quicktime"),
    "WebM": (b"\x1aE\xdf\xa3\x9f" + bytes(20) + b"\x42\x82\x84webm", "video/webm"),
    "Matroska": (b"\x1aE\xdf\xa3\xa3" + bytes(20) + b"\x42\x82\x88matroska", "video/x-matroska"),
    "AVI": (b"RIFF\x24\x00\x00\x00AVI LIST", "video/x-msvideo"),
    "an MPEG transport stream": ((b"G" + bytes(187)) * 4, "video/mp2t"),
    "WOFF2": (b"wOF2\x00\x01\x00\x00", "font/woff2"),
    "TrueType": (b"\x00\x01\x00\x00\x00\x12\x01\x00", "font/ttf"),
    "HTML": (HTML, "text/html"),
    "HTML behind a byte order mark": (b"\xef\xbb\xbf \n<html>", "text/html"),
    "HTML in UTF-16": ("\ufeff<script>".encode("utf-16-le"), "text/html"),
    "a fragment of HTML": (b"<div>hello</div>", "text/html"),
    "XHTML": (b'<?xml version="1.0"?><html xmlns="x"/>', "application/xhtml+xml"),
    "SVG": (SVG, "image/svg+xml"),
    "SVG without a declaration": (b"<svg viewBox='0 0 1 1'/>", "image/svg+xml"),
    "SVG behind a comment": (b"<!-- drawn --><svg/ ><svg >", "image/svg+xml"),
    "SVG with a document type": (b'<!DOCTYPE svg PUBLIC "x"><svg >', "image/svg+xml"),
    "XML": (b'<?xml version="1.0"?><rss version="2.0"/>', "application/xml"),
    "JSON": (b' {"a": 1}', "application/json"),
    "a JSON list": (b"[1, 2]", "application/json"),
    "text": (b"Hello, world\r\n", "text/plain"),
    "text in UTF-8": ("Grüße aus Köln, 日本".encode(), "text/plain"),
    "text in Latin-1": ("Grüße aus Köln".encode("latin-1"), "text/plain"),
    "text in UTF-16": ("Grüße".encode("utf-16"), "text/plain"),
    "CSV": (b"a;b;c\n1;2;3\n", "text/plain"),
    "Markdown with a link": (b"[a link](https://example.com)\n", "text/plain"),
    "source code": (b"import os\n\x0c\ndef f(): ...\n", "text/plain"),
    "terminal colours": (b"\x1b[31mred\x1b[0m", "text/plain"),
    "a comparison": (b"<5 items>", "text/plain"),
    "text that begins with MZ": (b"MZ is a prefix in Mozambique " * 5, "text/plain"),
    "text that begins with BM": (b"BM is short for benchmark", "text/plain"),
    "noise": (b"\x00" + noise(500), UNKNOWN),
    "nothing": (b"", UNKNOWN),
}


@pytest.mark.parametrize(("data", "type_"), CONTENT.values(), ids=CONTENT.keys())
def test_the_type_is_known_by_the_content(data: bytes, type_: str) -> None:
    with spooled(data) as content:
        assert detect(content) == type_


@given(st.binary(max_size=600))
def test_any_bytes_have_a_type(data: bytes) -> None:
    with spooled(data) as content:
        assert "/" in detect(content)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_what_people_write_is_text(text: str) -> None:
    assert is_text(text.encode())


WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ZIPS = {
    "a document": (["[Content_Types].xml", "word/document.xml"], "", WORD),
    "a document, its parts in another order": (
        ["docProps/app.xml", "word/styles.xml", "[Content_Types].xml"],
        "",
        WORD,
    ),
    "some other open package": (["[Content_Types].xml", "3D/model"], "", "application/vnd.openxmlformats-package"),
    "an OpenDocument text": (["mimetype", "content.xml"], "application/vnd.oasis.opendocument.text", None),
    "a book": (["mimetype", "OEBPS/x"], "application/epub+zip", None),
    "a Java program": (["META-INF/MANIFEST.MF", "a.class"], "", "application/java-archive"),
    "an Android program": (
        ["AndroidManifest.xml", "META-INF/MANIFEST.MF"],
        "",
        "application/vnd.android.package-archive",
    ),
    "some files": (["word/document.xml"], "", "application/zip"),
    "a mimetype of something else": (["mimetype"], "text/html", "application/zip"),
}


@pytest.mark.parametrize(("names", "mimetype", "type_"), ZIPS.values(), ids=ZIPS.keys())
def test_a_zip_is_what_its_entries_make_it(names: list[str], mimetype: str, type_: str | None) -> None:
    assert zip_type(names, mimetype) == (type_ or mimetype)


def test_a_tar_header_needs_its_checksum() -> None:
    header = tarred({"a": b"b"})[:512]
    assert is_tar_header(header)
    assert not is_tar_header(header[:511])
    assert not is_tar_header(b"b" + header[1:])
    assert not is_tar_header(bytes(512))
    assert not is_tar_header(b"x" * 512)
