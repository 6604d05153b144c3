"""Broken files are told, whole ones pass, and so do the oddities that cameras write."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.inspection.structure import damage
from tests.gateway.inspection.files import animation, chunk, noise, pdf, picture, spooled

PNG, JPEG, GIF = picture("PNG"), picture("JPEG"), animation()
EXIF = struct.pack(">2sH", b"\xff\xe1", 2 + 6 + 300) + b"Exif\x00\x00" + b"\xff\xd9" * 150

WHOLE = {
    "PNG": ("image/png", PNG),
    "large PNG": ("image/png", picture("PNG", (300, 300))),
    "PNG with data behind it": ("image/png", PNG + noise(500)),
    "PNG with a wrong checksum on a comment": (
        "image/png",
        PNG[:33] + chunk(b"tEXt", b"Comment\x00made here")[:-4] + b"none" + PNG[33:],
    ),
    "JPEG": ("image/jpeg", JPEG),
    "progressive JPEG": ("image/jpeg", picture("JPEG", (200, 200), progressive=True)),
    "JPEG with restarts": ("image/jpeg", picture("JPEG", (200, 200), restart_marker_blocks=2)),
    "JPEG larger than the window": ("image/jpeg", picture("JPEG", (600, 600), quality=95)),
    "JPEG with a thumbnail in its head": ("image/jpeg", JPEG[:2] + EXIF + JPEG[2:]),
    "JPEG with a film behind it, as phones write": ("image/jpeg", JPEG + b"\x00\x00\x00\x18ftypmp42" + noise(5000)),
    "JPEG with a second picture behind it": ("image/jpeg", JPEG + JPEG[: len(JPEG) // 2]),
    "JPEG with stray bytes between segments": ("image/jpeg", JPEG[:20] + b"\x00\x00" + JPEG[20:]),
    "animated GIF": ("image/gif", GIF),
    "GIF with data behind it": ("image/gif", GIF + b"\x00\x00"),
    "WebP": ("image/webp", picture("WEBP")),
    "PDF": ("application/pdf", pdf()),
    "PDF padded with zeros": ("application/pdf", pdf() + bytes(5000)),
    "PDF for fast web view": ("application/pdf", pdf(linearised=3000)),
    "something without a walk": ("application/octet-stream", b"anything"),
}


@pytest.mark.parametrize(("type_", "data"), WHOLE.values(), ids=WHOLE.keys())
@pytest.mark.parametrize("memory", [10_000_000, 0], ids=["in memory", "on disk"])
def test_a_whole_file_passes(type_: str, data: bytes, memory: int) -> None:
    with spooled(data, memory) as content:
        assert damage(content, type_) == ""


BROKEN = {
    "PNG without its end": ("image/png", PNG[:-12], "breaks off"),
    "PNG with a damaged picture": ("image/png", PNG[:100] + b"!" + PNG[101:], "checksum"),
    "PNG without header": ("image/png", PNG[:8] + PNG[33:], "no header"),
    "PNG in countless pieces": ("image/png", PNG[:33] + chunk(b"tEXt", b"") * 130_000, "more pieces"),
    "JPEG without its end": ("image/jpeg", JPEG[:-2], "breaks off"),
    "JPEG with a length of nothing": ("image/jpeg", b"\xff\xd8\xff\xe0\x00\x01" + bytes(9), "breaks off"),
    "JPEG in countless pieces": ("image/jpeg", b"\xff\xd8" + b"\xff\xfe\x00\x02" * 120_000, "more pieces"),
    "GIF without its end": ("image/gif", GIF[:-1], "breaks off"),
    "GIF with an unknown block": ("image/gif", GIF[:-1] + b"?", "damaged"),
    "GIF in countless pieces": ("image/gif", b"GIF89a" + bytes(7) + b"!\xfe\x01x\x00" * 150_000, "more pieces"),
    "WebP without its end": ("image/webp", picture("WEBP")[:-10], "breaks off"),
    "PDF without its end": ("application/pdf", pdf()[:-200], "end mark"),
    "PDF for fast web view, cut": ("application/pdf", pdf(linearised=50_000), "shorter"),
}


@pytest.mark.parametrize(("type_", "data", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_told(type_: str, data: bytes, reason: str) -> None:
    with spooled(data) as content:
        assert reason in damage(content, type_)


@pytest.mark.parametrize("make", [lambda: PNG, lambda: JPEG, lambda: GIF], ids=["PNG", "JPEG", "GIF"])
def test_a_picture_cut_anywhere_is_told(make: Callable[[], bytes]) -> None:
    data = make()
    type_ = {b"\x89": "image/png", b"\xff": "image/jpeg", b"G": "image/gif"}[data[:1]]
    for end in range(14, len(data), max(1, len(data) // 150)):
        with spooled(data[:end]) as content:
            assert damage(content, type_), end


@given(
    st.binary(max_size=400), st.sampled_from([PNG[:33], JPEG[:20], GIF[:13], pdf()[:20], b"RIFF\x09\x00\x00\x00WEBP"])
)
def test_any_bytes_behind_a_signature_are_walked_without_error(data: bytes, start: bytes) -> None:
    for type_ in ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"):
        with spooled(start + data) as content:
            assert isinstance(damage(content, type_), str)
