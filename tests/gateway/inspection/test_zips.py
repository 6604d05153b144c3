"""ZIP, strictly: what real programs write is read, and what two programs could read differently is told."""

import io
import lzma
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds
from aupgate.inspection.zips import Zip, check_name
from tests.gateway.inspection.files import noise, office, open_document, spooled, streamed_zip, zipped

FILES = {"one.txt": b"first " * 50, "dir/two.bin": noise(70_000), "empty": b"", "naïve.txt": b"x"}


def read(data: bytes, bounds: Bounds | None = None) -> dict[str, bytes]:
    with spooled(data) as content:
        archive = Zip(content, Allowance(bounds or Bounds(), len(data)))
        return {entry.name: b"".join(archive.unpack(index)) for index, entry in enumerate(archive.entries)}


def refused(data: bytes) -> str:
    with pytest.raises(ArchiveError) as error:
        read(data)
    return error.value.kind


NAMES = st.from_regex(r"[a-zéA-Z0-9 ._-]{0,20}[a-z]", fullmatch=True).filter(lambda name: ".." not in name)


@given(
    st.dictionaries(NAMES, st.binary(max_size=2000), max_size=5),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
)
@settings(deadline=None)
def test_whatever_zipfile_writes_is_read(files: dict[str, bytes], method: int) -> None:
    assert read(zipped(files, method)) == files


@given(st.dictionaries(NAMES, st.binary(max_size=300), max_size=3), st.data())
@settings(deadline=None)
def test_a_zip_cut_anywhere_is_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    whole = zipped(files)
    end = data.draw(st.integers(0, len(whole) - 1))
    assert refused(whole[:end]) == "corrupt"


@given(st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=3), st.data())
@settings(deadline=None)
def test_a_damaged_zip_is_read_as_it_was_or_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    whole = bytearray(zipped(files))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        contents = sorted(read(bytes(whole)).values())
    except ArchiveError:
        return
    # What is left are fields that say nothing about the content: times, versions, attributes, a method not known here.
    assert contents == sorted(files.values())


def _with_comment() -> bytes:
    out = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = b"made here"
    return out.getvalue()


def _appended() -> bytes:
    out = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("three", b"later")
    return out.getvalue()


def _signed_by_android() -> bytes:
    """An APK's signing block stands between the entries and the directory."""
    data = zipped(FILES)
    start = struct.unpack_from("<I", data, len(data) - 6)[0]
    length = 24 + 100
    block = struct.pack("<Q", length) + bytes(100) + struct.pack("<Q", length) + b"APK Sig Block 42"
    return data[:start] + block + data[start:-6] + struct.pack("<IH", start + len(block), 0)


def _zip64_end() -> bytes:
    """A ZIP64 end record where none is needed, as some writers always put it."""
    data = zipped(FILES)
    count, size, start = struct.unpack_from("<HII", data, len(data) - 12)
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:-22] + record + locator + end


WRITERS: dict[str, Callable[[], bytes]] = {
    "stored": lambda: zipped(FILES, zipfile.ZIP_STORED),
    "deflated": lambda: zipped(FILES),
    "bzip2": lambda: zipped(FILES, zipfile.ZIP_BZIP2),
    "LZMA": lambda: zipped(FILES, zipfile.ZIP_LZMA),
    "LZMA of much": lambda: zipped({"a": noise(300_000)}, zipfile.ZIP_LZMA),
    "streamed": lambda: streamed_zip(FILES),
    "streamed for ZIP64": lambda: streamed_zip(FILES, zip64=True),
    "with a comment": _with_comment,
    "appended to": _appended,
    "signed by Android": _signed_by_android,
    "with a ZIP64 end": _zip64_end,
    "empty": lambda: zipped({}),
    "an office document": office,
    "an OpenDocument text": open_document,
}


@pytest.mark.parametrize("make", WRITERS.values(), ids=WRITERS.keys())
def test_what_real_writers_write_is_read(make: Callable[[], bytes]) -> None:
    data = make()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert read(data) == {name: archive.read(name) for name in archive.namelist()}


PROGRAMS = {
    "Info-ZIP": ["zip", "-r", "out.zip", "tree"],
    "Info-ZIP, streamed": ["sh", "-c", "zip -r - tree | cat > out.zip"],
    "Info-ZIP with descriptors": ["zip", "-fd", "-r", "out.zip", "tree"],
    "Info-ZIP from stdin, ZIP64": ["sh", "-c", "cat tree/large | zip -fz out.zip -"],
    "Info-ZIP with links": ["zip", "-y", "-r", "out.zip", "tree"],
    "jar": ["jar", "cf", "out.zip", "tree"],
    "7z": ["7zz", "a", "-tzip", "out.zip", "tree"],
}


@pytest.mark.parametrize("command", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_what_programs_write_is_read(command: list[str], tmp_path: Path) -> None:
    program = command[-1].split("|")[1].split()[0] if command[0] == "sh" and "| zip" in command[-1] else command[0]
    if shutil.which("zip" if program == "sh" else program) is None:
        pytest.skip(f"{program} is not installed")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "text.txt").write_text("text " * 500)
    (tree / "large").write_bytes(noise(200_000))
    (tree / "sub" / "empty").touch()
    (tree / "link").symlink_to("text.txt")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    found = read((tmp_path / "out.zip").read_bytes())
    assert noise(200_000) in found.values()


STORED = zipped({"a.txt": b"AAAA", "b.txt": b"BBBB"}, zipfile.ZIP_STORED)
START = struct.unpack_from("<I", STORED, len(STORED) - 6)[0]
SECOND = 30 + 5 + 4


def patched(offset: int, data: bytes, base: bytes = STORED) -> bytes:
    return base[:offset] + data + base[offset + len(data) :]


def moved(data: bytes, at: int, by: int) -> bytes:
    """Repair the end record's start of the directory after something of `by` bytes was put in at `at`."""
    start = struct.unpack_from("<I", data, len(data) - 6)[0]
    return data[:-6] + struct.pack("<I", start + by) + data[-2:] if at <= start else data


def _overlapping() -> bytes:
    """Both entries share one local header, as in bombs."""
    central = STORED[START : START + 46 + 5]
    directory = central + central.replace(b"a.txt", b"c.txt")
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), SECOND, 0)
    return STORED[:SECOND] + directory + end


def _self_extracting() -> bytes:
    out = io.BytesIO(b"MZ and a program")
    out.seek(0, io.SEEK_END)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("a.txt", b"x")
    return out.getvalue()


UNSOUND = {
    "data before its start": (b"MZ stub" + STORED, "before its start"),
    "a program before its start": (_self_extracting(), "overlapping entries, or data between or before"),
    "data behind its end": (STORED + b"\n", "behind its end"),
    "data between entries": (moved(STORED[:SECOND] + b"gap!" + STORED[SECOND:], SECOND, 4), "where"),
    "data before the directory": (moved(STORED[:START] + b"gap!" + STORED[START:], START, 4), "belongs to nothing"),
    "data behind the directory": (STORED[:-22] + b"gap!" + STORED[-22:], "around its directory"),
    "overlapping entries": (_overlapping(), "overlapping|describes"),
    "another name in the local header": (patched(30, b"x.txt"), "two ways"),
    "another size in the local header": (patched(22, b"\x03"), "two ways"),
    "another checksum in the local header": (patched(14, b"\x00\x00\x00\x00"), "two ways"),
    "another method in the local header": (patched(8, b"\x08"), "two ways"),
    "encrypted only in the local header": (patched(6, b"\x01"), "two ways"),
    "a directory that claims fewer entries": (patched(len(STORED) - 14, b"\x01\x00\x01\x00"), "directory is damaged"),
    "a directory that claims more entries": (patched(len(STORED) - 14, b"\x03\x00\x03\x00"), "directory is damaged"),
    "a part of several": (patched(len(STORED) - 18, b"\x01\x00"), "several parts"),
    "no directory": (b"PK\x03\x04" + bytes(100), "no directory"),
    "a locator that leads nowhere": (patched(len(_zip64_end()) - 34, b"\x01", _zip64_end()), "leads nowhere"),
    "two directories that differ": (patched(len(_zip64_end()) - 14, b"\x01\x00\x01\x00", _zip64_end()), "differ"),
    "a damaged entry": (patched(36, b"x"), "checksum"),
    "the same name twice": (STORED.replace(b"b.txt", b"a.txt"), "several entries"),
    "an absolute name": (STORED.replace(b"b.txt", b"/.txt"), "leads out"),
    "a drive": (STORED.replace(b"b.txt", b"C:/xt"), "leads out"),
    "a name that climbs": (STORED.replace(b"b.txt", b"../xt"), "leads out"),
    "a name that climbs with backslashes": (STORED.replace(b"b.txt", b"..\\xt"), "leads out"),
    "an absolute name with a backslash": (STORED.replace(b"b.txt", b"\\.txt"), "leads out"),
    "a drive with a backslash": (STORED.replace(b"b.txt", b"C:\\xt"), "leads out"),
    "the same name with a slash and a backslash": (
        STORED.replace(b"a.txt", b"a/txt").replace(b"b.txt", b"a\\txt"),
        "several entries",
    ),
    "a NUL in a name": (STORED.replace(b"b.txt", b"b\x00txt"), "malformed name"),
}


@pytest.mark.parametrize(("data", "reason"), UNSOUND.values(), ids=UNSOUND.keys())
def test_what_programs_could_read_differently_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason) as error:
        read(data)
    assert error.value.kind == "corrupt"


def _deflated(stream: bytes, content: bytes, size: int) -> bytes:
    """A ZIP with one deflated entry of this stream, checksum of `content`, and declared `size`."""
    crc = zlib.crc32(content)
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, crc, len(stream), size, 1, 0) + b"a"
    central = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, crc, len(stream), size, 1, 0, 0, 0, 0, 0, 0)
    directory = central + b"a"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), len(local) + len(stream), 0)
    return local + stream + directory + end


def deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


STREAMS = {
    "more than the declared size": (_deflated(deflate(b"x" * 100), b"x" * 50, 50), "size"),
    "less than the declared size": (_deflated(deflate(b"x" * 50), b"x" * 100, 100), "size"),
    "data behind the stream": (_deflated(deflate(b"x" * 50) + b"more", b"x" * 50, 50), "behind its end"),
    "a stream that breaks off": (_deflated(deflate(b"x" * 50)[:-2], b"x" * 50, 50), "breaks off"),
    "no stream": (_deflated(b"\xff" * 9, b"", 5), "damaged"),
}


@pytest.mark.parametrize(("data", "reason"), STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_must_end_exactly_where_it_says(data: bytes, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read(data)


def _repacked(stream: bytes, content: bytes, method: int, flags: int = 0) -> bytes:
    """A ZIP with one entry packed by this method."""
    data = _deflated(stream, content, len(content))
    fields = struct.pack("<HH", flags, method)
    data = data.replace(b"PK\x03\x04\x14\x00\x00\x00\x08\x00", b"PK\x03\x04\x14\x00" + fields)
    return data.replace(b"PK\x01\x02\x14\x00\x14\x00\x00\x00\x08\x00", b"PK\x01\x02\x14\x00\x14\x00" + fields)


TEXT = b"some text, " * 9000
PROPERTIES = b"\x5d" + (1 << 20).to_bytes(4, "little")


def bare_lzma(data: bytes, properties: bytes = PROPERTIES) -> bytes:
    """An LZMA stream as ZIP has it: versions, properties and their length before the stream, which has an end mark."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 20}]
    return b"\x09\x14\x05\x00" + properties + lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


def test_an_lzma_stream_ends_by_its_size_when_nothing_marks_its_end() -> None:
    assert read(_repacked(bare_lzma(TEXT), TEXT, 14, 0)) == {"a": TEXT}
    assert read(_repacked(bare_lzma(TEXT), TEXT, 14, 2)) == {"a": TEXT}


def test_an_entry_packed_with_xz_is_read() -> None:
    assert read(_repacked(lzma.compress(TEXT), TEXT, 95)) == {"a": TEXT}


LZMA = {
    "a stream that breaks off": (bare_lzma(TEXT)[:-20], TEXT, 2),
    "more than the declared size": (bare_lzma(TEXT), TEXT[:-1], 2),
    "less than the declared size": (bare_lzma(TEXT), TEXT + b"x", 2),
    "less than the declared size, unmarked": (bare_lzma(TEXT), TEXT + b"x", 0),
    "no properties": (b"\x09\x14", b"x", 2),
    "impossible properties": (bare_lzma(TEXT, b"\xff" * 5), TEXT, 2),
    "properties that no program writes": (bare_lzma(TEXT, b"\x08\x00\x00\x10\x00"[:1] + b"\x00" * 4), TEXT, 2),
    "data behind the stream": (bare_lzma(TEXT) + noise(100), TEXT, 2),
    "much data behind an unmarked stream": (bare_lzma(TEXT) + noise(90_000), TEXT, 0),
}


@pytest.mark.parametrize(("stream", "content", "flags"), LZMA.values(), ids=LZMA.keys())
def test_a_damaged_lzma_stream_is_refused(stream: bytes, content: bytes, flags: int) -> None:
    assert refused(_repacked(stream, content, 14, flags)) == "corrupt"


def test_an_lzma_bomb_ends_at_the_ratio() -> None:
    assert refused(zipped({"zeros": bytes(20_000_000)}, zipfile.ZIP_LZMA)) == "bomb"


def test_an_lzma_stream_that_asks_for_much_memory_is_a_bomb() -> None:
    stream = bare_lzma(TEXT, b"\x5d\xff\xff\xff\xff")
    data = bytearray(_repacked(stream, TEXT, 14, 2))
    sizes = struct.pack("<I", len(TEXT))
    assert read(bytes(data)) == {"a": TEXT}, "a dictionary that is never filled takes no memory"
    assert refused(bytes(data).replace(sizes, b"\xfe\xff\xff\x7f")) == "bomb"


def test_backslashes_of_old_windows_programs_are_read_as_slashes() -> None:
    assert read(STORED.replace(b"b.txt", b"b\\txt")) == {"a.txt": b"AAAA", "b/txt": b"BBBB"}


def test_an_entry_with_a_page_of_padding_is_read() -> None:
    info = zipfile.ZipInfo("a")
    info.extra = bytes(4095)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, b"x")
    assert read(out.getvalue()) == {"a": b"x"}


@pytest.mark.parametrize("before", [b"MZ and a program", noise(100_000)], ids=["a little", "much"])
def test_a_zip_behind_something_else_is_read_when_its_end_is_told(before: bytes) -> None:
    adjusted = io.BytesIO(before)
    adjusted.seek(0, io.SEEK_END)
    with zipfile.ZipFile(adjusted, "a") as archive:
        archive.writestr("a.txt", b"AAAA")
        archive.writestr("b.txt", b"BBBB")
    for data in (before + STORED, before + STORED + b"signature", adjusted.getvalue()):
        with spooled(data) as content:
            archive_ = Zip(content, Allowance(Bounds(), len(data)), data.rindex(b"PK\x05\x06"))
            assert [b"".join(archive_.unpack(index)) for index in (0, 1)] == [b"AAAA", b"BBBB"]


def test_an_empty_entry_that_calls_itself_deflated_is_read() -> None:
    assert read(_deflated(b"", b"", 0)) == {"a": b""}


def test_a_bomb_ends_at_the_ratio() -> None:
    with pytest.raises(ArchiveError, match="unfolds") as error:
        read(zipped({"zeros": bytes(20_000_000)}))
    assert error.value.kind == "bomb"


def test_more_entries_than_allowed_are_a_bomb_before_one_is_read() -> None:
    with pytest.raises(ArchiveError, match="more than 1000 entries") as error:
        read(zipped({f"{number}": b"" for number in range(1001)}), Bounds(max_entries=1000))
    assert error.value.kind == "bomb"


@pytest.mark.parametrize(
    ("flags", "method", "obstacle"),
    [
        (1, 8, "is encrypted"),
        (0, 93, "method 93"),
        (0, 9, "method 9"),
        (0, 0, ""),
        (0, 8, ""),
        (0, 12, ""),
        (0, 14, ""),
    ],
)
def test_an_entry_says_why_it_cannot_be_opened(flags: int, method: int, obstacle: str) -> None:
    data = _deflated(deflate(b"x"), b"x", 1)
    fields = struct.pack("<HH", flags, method)
    data = data.replace(b"PK\x03\x04\x14\x00\x00\x00\x08\x00", b"PK\x03\x04\x14\x00" + fields)
    data = data.replace(b"PK\x01\x02\x14\x00\x14\x00\x00\x00\x08\x00", b"PK\x01\x02\x14\x00\x14\x00" + fields)
    with spooled(data) as content:
        (entry,) = Zip(content, Allowance(Bounds(), len(data))).entries
    assert obstacle in entry.obstacle
    assert bool(obstacle) == bool(entry.obstacle)


def test_a_second_name_in_an_extra_field_is_checked_too() -> None:
    out = io.BytesIO()
    info = zipfile.ZipInfo("good.txt")
    other = b"../bad.txt"
    info.extra = struct.pack("<HHBI", 0x7075, 5 + len(other), 1, zlib.crc32(b"good.txt")) + other
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, b"x")
    assert refused(out.getvalue()) == "corrupt"


@pytest.mark.parametrize("name", [b"a/b", b"a/./b", b"...", b"a..b", b".hidden", b"dir/", "é".encode()])
def test_ordinary_names_pass(name: bytes) -> None:
    check_name(name, "shown")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start, end in ((b"PK\x03\x04", b""), (b"", STORED[-22:]), (STORED[:-30], STORED[-22:])):
        try:
            read(start + data + end)
        except ArchiveError as error:
            assert error.kind in ("corrupt", "bomb")  # noqa: PT017 - either outcome is right
