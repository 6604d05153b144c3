"""Tars of every age are read, and whatever is not whole is told."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds
from aupgate.inspection.tars import members
from tests.gateway.inspection.files import noise, spooled, tarred

FILES = {"one.txt": b"first", "deep/er/two.bin": noise(1500), "x" * 150 + "/long.txt": b"long", "empty": b""}
FORMS = {"ustar": tarfile.USTAR_FORMAT, "GNU": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def read(data: bytes, bounds: Bounds | None = None) -> dict[str, bytes]:
    with spooled(data) as content:
        allowance = Allowance(bounds or Bounds(), len(data))
        return {member.name: content.read(member.start, member.size) for member in members(content, allowance)}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_file_is_found(form: int) -> None:
    assert read(tarred(FILES, form)) == FILES


@given(st.dictionaries(st.from_regex(r"[a-zé]{1,200}", fullmatch=True), st.binary(max_size=1200), max_size=4))
def test_whatever_tarfile_writes_is_read(files: dict[str, bytes]) -> None:
    assert read(tarred(files)) == files


def test_links_directories_and_devices_have_no_content() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"entry{kind!r}")
            info.type, info.linkname = kind, "target" * 30
            archive.addfile(info)
        info = tarfile.TarInfo("file")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    assert read(out.getvalue()) == {"file": b"abc"}


def _sealed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    return bytes(header)


def _header(**fields: bytes) -> bytes:
    header = bytearray(tarred({"a": b"x"}, tarfile.USTAR_FORMAT)[:512])
    places = {"name": 0, "size": 124, "kind": 156, "magic": 257, "more": 482}
    for name, field in fields.items():
        header[places[name] : places[name] + len(field)] = field
    return _sealed(header)


END = bytes(1024)
BLOCK = b"content".ljust(512, b"\x00")

ODD = {
    "a tar before ustar": (_header(magic=bytes(8)) + BLOCK + END, {"a": b"c"}),
    "a size in base 256": (_header(size=b"\x80" + bytes(10) + b"\x07") + BLOCK + END, {"a": b"content"}),
    "a kind that nobody knows": (_header(kind=b"Z", size=b"00000000007\x00") + BLOCK + END, {"a": b"content"}),
    "a sparse file with more maps": (
        _header(kind=b"S", size=b"00000000007\x00", more=b"\x01") + bytes(512) + BLOCK + END,
        {"a": b"content"},
    ),
    "a hard link with a size": (_header(kind=b"1", size=b"00000000007\x00") + END, {}),
    "one block of zeros at the end": (_header() + BLOCK + bytes(512), {"a": b"c"}),
}


@pytest.mark.parametrize(("data", "expected"), ODD.values(), ids=ODD.keys())
def test_odd_but_sound_tars_are_read(data: bytes, expected: dict[str, bytes]) -> None:
    assert read(data) == expected


BROKEN = {
    "cut in a header": (tarred(FILES)[:300], "breaks off"),
    "cut in a file": (_header(size=b"00000010000\x00") + BLOCK, "breaks off"),
    "without an end": (_header() + BLOCK, "breaks off"),
    "with a damaged header": (_header() + BLOCK + b"!" * 512 + END, "damaged"),
    "with a size that is none": (_header(size=b"99999999999\x00") + BLOCK + END, "no number"),
    "with data behind its end": (_header() + BLOCK + END + b"more", "behind its end"),
    "with a sparse map that breaks off": (_header(kind=b"S", more=b"\x01") + b"\x01" * 9, "breaks off"),
    "with a file outside": (tarred({"../../etc/passwd": b"x"}), "leads out"),
    "with an absolute name": (tarred({"/etc/passwd": b"x"}), "leads out"),
    "with a giant extended header": (_header(kind=b"x", size=b"00005000000\x00") + bytes(2**21), "no program writes"),
    "with a malformed extended size": (
        _header(kind=b"x", size=b"00000000013\x00") + b"11 size=-1\n".ljust(512, b"\x00") + _header() + BLOCK + END,
        "no number",
    ),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_and_dangerous_tars_are_told(data: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason) as error:
        read(data)
    assert error.value.kind == "corrupt"


def test_a_tar_cut_anywhere_is_told() -> None:
    data = tarred({"a": noise(600), "b": b"y"})
    end = len(data.rstrip(b"\x00"))
    for cut in range(1, end, 41):
        with pytest.raises(ArchiveError):
            read(data[:cut])


def test_more_entries_than_allowed_are_a_bomb() -> None:
    with pytest.raises(ArchiveError, match="more than 1000 entries"):
        read(tarred({f"{number}": b"" for number in range(1001)}, tarfile.USTAR_FORMAT), Bounds(max_entries=1000))


def _with_records(records: bytes, kind: bytes = b"x") -> bytes:
    header = _header(kind=kind, size=b"%011o\x00" % len(records))
    return header + records + bytes(-len(records) % 512) + _header() + BLOCK + END


SOUND_RECORDS = {
    "many of them": (b"6 a=b\n" * 200, b"x"),
    "a value with a line end and an equals sign": (b"10 a=b\n=c\n", b"x"),
    "a comment for all, as git writes": (b"16 comment=abcd\n", b"g"),
    "padding": (b"6 a=b\n" + bytes(20), b"x"),
}


@pytest.mark.parametrize(("records", "kind"), SOUND_RECORDS.values(), ids=SOUND_RECORDS.keys())
def test_extended_headers_of_real_programs_are_read(records: bytes, kind: bytes) -> None:
    assert read(_with_records(records, kind)) == {"a": b"c"}


UNSOUND_RECORDS = {
    "countless": (b"6 a=b\n" * 150_000, b"x", "no program writes"),
    "of a wrong length": (b"7 a=b\n", b"x", "malformed extended"),
    "longer than the header": (b"90 a=b\n", b"x", "malformed extended"),
    "of no length": (b"0 a=b\n", b"x", "malformed extended"),
    "without a keyword": (b"5 =b\n", b"x", "malformed extended"),
    "a size for all": (b"10 size=9\n", b"g", "'size' of all"),
    "a path for all": (b"10 path=b\n", b"g", "'path' of all"),
    "a sparse name for all": (b"21 GNU.sparse.name=b\n", b"g", "'GNU.sparse.name' of all"),
    "a sparse name that climbs": (b"24 GNU.sparse.name=../b\n", b"x", "leads out"),
}


@pytest.mark.parametrize(("records", "kind", "reason"), UNSOUND_RECORDS.values(), ids=UNSOUND_RECORDS.keys())
def test_extended_headers_that_programs_read_differently_are_refused(records: bytes, kind: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason) as error:
        read(_with_records(records, kind))
    assert error.value.kind == "corrupt"


def test_a_size_for_all_files_is_refused_as_python_would_skip_by_it() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"size": "512"}) as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    with pytest.raises(ArchiveError, match="'size' of all"):
        read(out.getvalue())


@given(st.binary(max_size=1100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(_header() + BLOCK + data)
    except ArchiveError as error:
        assert error.kind in ("corrupt", "bomb")  # noqa: PT017 - either outcome is right
