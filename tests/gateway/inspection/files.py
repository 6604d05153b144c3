"""Real files of many kinds, made on the spot."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping

from PIL import Image

from aupgate.inspection.spool import Spool, SpoolFactory


def spooled(data: bytes, memory: int = 64 * 1024) -> Spool:
    spool = SpoolFactory(memory=memory).open()
    spool.write(data)
    return spool


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def _picture(size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.frombytes("RGB", size, noise(size[0] * size[1] * 3))


def picture(form: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    out = io.BytesIO()
    _picture(size).save(out, form, **options)
    return out.getvalue()


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.frombytes("RGB", (32, 32), noise(32 * 32 * 3, seed)).quantize(64) for seed in range(4)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], loop=0, comment=b"made here")
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pdf(*, linearised: int | None = None) -> bytes:
    first = f"<< /Linearized 1 /L {linearised} /O 3 >>".encode() if linearised else b"<< /Type /Catalog /Pages 2 0 R >>"
    body = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n" + first + b"\nendobj\n" + b"% padding\n" * 300
    return body + b"xref\n0 1\n0000000000 65535 f \ntrailer\n<< /Size 2 >>\nstartxref\n%d\n%%%%EOF\n" % len(body)


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


class _Unseekable(io.RawIOBase):
    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += bytes(data)
        return len(data)


def streamed_zip(members: Mapping[str, bytes], *, zip64: bool = False) -> bytes:
    """A ZIP as it is written to a socket: sizes and checksums come behind the data."""
    out = _Unseekable()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=zip64) as member:
                member.write(data)
    return out.data


def office(part: str = "word/document.xml") -> bytes:
    return zipped({"[Content_Types].xml": b"<Types/>", "_rels/.rels": b"<Relationships/>", part: b"<w:document/>"})


def open_document(kind: str = "application/vnd.oasis.opendocument.text") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr("content.xml", "<office:document/>", zipfile.ZIP_DEFLATED)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return out.getvalue()


def tarred(members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


ELF = b"\x7fELF\x02\x01\x01\x00" + bytes(8) + b"\x03\x00\x3e\x00" + noise(200)
PE = b"MZ" + bytes(58) + struct.pack("<I", 0x80) + bytes(64) + b"PE\x00\x00\x64\x86" + noise(200)
MACH_O = b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + noise(200)
UNIVERSAL = b"\xca\xfe\xba\xbe\x00\x00\x00\x02" + noise(200)
CLASS = b"\xca\xfe\xba\xbe\x00\x00\x00\x37" + noise(200)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + noise(600)
SVG = b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'
HTML = b"<!DOCTYPE html>\n<html><body><script>alert(1)</script></body></html>"
