"""A ZIP is found behind anything, and nothing else is taken for one."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.inspection.trailing import end_of_zip
from tests.gateway.inspection.files import noise, pdf, picture, spooled, zipped
from tests.gateway.inspection.test_zips import _zip64_end

ZIP = zipped({"a.txt": b"content"})


def _adjusted() -> bytes:
    """A ZIP that knows what stands before it, as self-extracting programs are written."""
    out = io.BytesIO(noise(3000))
    out.seek(0, io.SEEK_END)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("a.txt", b"content")
    return out.getvalue()


HIDDEN = {
    "behind one byte": b"x" + ZIP,
    "behind much": noise(300_000) + ZIP,
    "behind a picture": picture("PNG") + ZIP,
    "before other data": noise(100) + ZIP + noise(60_000),
    "before a false end record": noise(100) + ZIP + b"PK\x05\x06" + bytes(30),
    "adjusted to what stands before": _adjusted(),
    "of ZIP64": noise(100) + _zip64_end(),
    "among more end records than are looked at": ZIP + b"PK\x05\x06" * 300,
}


@pytest.mark.parametrize("data", HIDDEN.values(), ids=HIDDEN.keys())
@pytest.mark.parametrize("memory", [10**7, 0], ids=["in memory", "on disk"])
def test_a_zip_is_found_where_programs_find_it(data: bytes, memory: int) -> None:
    with spooled(data, memory) as content:
        assert end_of_zip(content) >= 0


NONE = {
    "nothing": b"",
    "a picture": picture("PNG"),
    "a PDF": pdf(),
    "an end record alone": noise(500) + b"PK\x05\x06" + bytes(18),
    "an end record in a text": b"the end record begins with PK\x05\x06, and so on. " * 50,
    "an end record that breaks off": noise(500) + b"PK\x05\x06",
    "a ZIP further away than programs look": ZIP + bytes(70_000),
}


@pytest.mark.parametrize("data", NONE.values(), ids=NONE.keys())
def test_what_is_none_is_not_taken_for_a_zip(data: bytes) -> None:
    with spooled(data) as content:
        assert end_of_zip(content) == -1


@given(st.binary(max_size=300))
def test_any_bytes_are_looked_through(data: bytes) -> None:
    for end in (b"", ZIP[-22:], _zip64_end()[-98:]):
        with spooled(data + end) as content:
            assert end_of_zip(content) < len(data) + len(end)
