"""Reading multipart/form-data so strictly that every parser behind must read the same parts from it.

The package `multipart` parses, in its strict mode; what it reads leniently, and what parsers in the field read
differently, is refused here by name: the raw header section of every part is checked against a narrow grammar, and
the layout of the whole body must add up to its last byte. Sources: RFC 7578, RFC 2046 section 5.1, and the form
encoding of the HTML standard.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from quopri import decodestring
from typing import Final
from urllib.parse import unquote_to_bytes

from aupgate.inspection.spool import CHUNK, Spool
from aupgate.values import value

try:
    from multipart import MultipartError, MultipartSegment, PushMultipartParser
except ModuleNotFoundError:
    raise
except ImportError as error:  # old versions of python-multipart install a package of the same name, which goes first
    raise ImportError(
        f'{error}: it is hidden by the package "python-multipart", install python-multipart>=0.0.18', name="multipart"
    ) from error

MAX_HEADERS: Final = 8
"""Header fields of one part; RFC 7578 knows three."""
MAX_HEADER: Final = 4096
"""Bytes of one header field of a part."""
MAX_NAME: Final = 1024
"""Bytes of a field's name or of a file name. File systems end at 255."""

_SECTION: Final = MAX_HEADERS * (MAX_HEADER + 2) + 2


class MultipartShapeError(Exception):
    """The body is not what every parser would read in the same way. The message names the shape, for the uploader."""


@value
class Part:
    """One part: its field name, file name (None for a plain field), declared type, and where in the body it is."""

    name: str
    filename: str | None
    type: str
    start: int
    size: int


# Every expression here reads what clients send, and takes time linear in its length: what repeats and what follows it
# have no character in common, alternatives within a repetition begin differently, and each is anchored at its start.
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2
_PARAMETER: Final = re.compile(rf';[ \t]*({_TOKEN})=("(?:[^"\\]|\\[^\r\n])*"|[^\s";,]*)[ \t]*')
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]").fullmatch
_BARE_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'+_./:=?-]+").fullmatch


def boundary(content_type: bytes) -> str:
    """Return the boundary that a Content-Type `multipart/form-data` names. Raises `MultipartShapeError`."""
    try:
        text = content_type.decode("ascii")
    except UnicodeDecodeError as error:
        raise MultipartShapeError("the Content-Type has characters beyond ASCII") from error
    kind, separator, rest = text.partition(";")
    if kind.strip(" \t").lower() != "multipart/form-data":
        raise MultipartShapeError("only multipart/form-data can be inspected, not another kind of multipart")
    parameters = _parameters(separator + rest, "Content-Type")
    if any(name.startswith("boundary*") for name in parameters):
        raise MultipartShapeError("the boundary is continued or encoded")
    if "boundary" not in parameters:
        raise MultipartShapeError("the boundary is missing")
    named, quoted = parameters["boundary"]
    if not _BOUNDARY(named) or not (quoted or _BARE_BOUNDARY(named)):
        raise MultipartShapeError("the boundary is malformed")
    return named


def _parameters(text: str, where: str) -> dict[str, tuple[str, bool]]:
    """Return parameters by name in lower case: each value without its quotation marks, and whether it had them."""
    found: dict[str, tuple[str, bool]] = {}
    text, at = text.rstrip(" \t"), 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            raise MultipartShapeError(f"the {where} has malformed parameters")
        name, content = match[1].lower(), match[2]
        if "\\" in content:
            # Some parsers drop it and take what follows for plain, some keep it: then names and extensions differ.
            raise MultipartShapeError(f"the {where} has a backslash")
        if name in found:
            raise MultipartShapeError(f"the {where} has the parameter {name!r} twice")
        found[name] = (content[1:-1], True) if content.startswith('"') else (content, False)
        at = match.end()
    return found


def parts(body: Spool, content_type: bytes, limit: int) -> Iterator[Part]:
    """Yield the parts of `body`, at most `limit`. Reads in pieces; blocks on CPU and disk.

    Raises `MultipartShapeError` when any parser might read the body differently. Parts that were yielded before it
    stand.
    """
    layout = _Layout(body, boundary(content_type))
    parser = PushMultipartParser(
        layout.boundary,
        max_header_size=MAX_HEADER,
        max_header_count=MAX_HEADERS,
        max_segment_count=limit,
        strict=True,
    )
    layout.check_start()
    try:
        with parser:
            fed = 0
            for chunk in body.chunks():
                yield from layout.read(parser, chunk)
                fed += len(chunk)
                if layout.is_complete(fed):
                    break
    except MultipartError as error:
        raise MultipartShapeError(_shape(error)) from error
    layout.check_end()


class _Layout:
    """Where the parts of a body are. Every byte belongs to a delimiter, a header section or a part's content."""

    def __init__(self, body: Spool, boundary: str) -> None:
        self.boundary = boundary
        self._body = body
        self._delimiter = b"--" + boundary.encode("ascii")
        self._offset = 0  # where the next delimiter must be
        self._part: Part | None = None
        self._parts = 0

    def check_start(self) -> None:
        """Check that nothing comes before the first boundary."""
        if self._body.read(0, len(self._delimiter)) != self._delimiter:
            raise MultipartShapeError("the body does not begin with the boundary")

    def is_complete(self, fed: int) -> bool:
        """Return True when the final boundary is among the `fed` bytes; the parser minds a line end behind it."""
        end = self._offset + len(self._delimiter)
        return self._part is None and end + 2 <= fed and self._body.read(end, 2) == b"--"

    def read(self, parser: PushMultipartParser, chunk: bytes) -> Iterator[Part]:
        """Yield the parts that end in `chunk`."""
        for event in parser.parse(chunk):
            if isinstance(event, MultipartSegment):
                self._part = self._open(event)
            elif event is None and self._part is not None:
                self._parts += 1
                yield self._part
                self._offset = self._part.start + self._part.size + 2
                self._part = None
            elif event is not None and self._part is not None:
                self._part = _grown(self._part, len(event))

    def _open(self, segment: MultipartSegment) -> Part:
        """Check the header section of a part as it stands in the body, and return the part, which is empty yet."""
        start = self._offset + len(self._delimiter) + 2
        raw, end, _ = self._body.read(start, _SECTION).partition(b"\r\n\r\n")
        if not end:
            raise MultipartShapeError("a part's header section is too large")
        part = _read_section(raw, start + len(raw) + 4)
        if part.name != segment.name or (part.filename is None) != (
            segment.filename is None and not _extended(segment)
        ):
            raise MultipartShapeError("a part's name can be read in two ways")
        return part

    def check_end(self) -> None:
        """Check that the final boundary is where it must be, and that nothing but a line end follows it."""
        end = self._offset + len(self._delimiter)
        if self._body.read(end, 2) != b"--":
            raise MultipartShapeError("the final boundary is missing")
        if self._body.read(end + 2, CHUNK) not in (b"", b"\r\n"):
            raise MultipartShapeError("there is data behind the final boundary")
        if _count(self._body, self._delimiter) != self._parts + 1:
            # Some parsers take it for a boundary wherever it stands, or behind any kind of line end.
            raise MultipartShapeError("the boundary stands within a part")


def _count(body: Spool, wanted: bytes) -> int:
    found, tail = 0, b""
    for chunk in body.chunks():
        window = tail + chunk
        found += window.count(wanted)
        tail = window[-len(wanted) + 1 :]
    return found


def _extended(segment: MultipartSegment) -> bool:
    return any("filename*" in text.lower() for name, text in segment.headerlist if name == "Content-Disposition")


def _grown(part: Part, size: int) -> Part:
    return Part(part.name, part.filename, part.type, part.start, part.size + size)


_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)").fullmatch
_ONCE: Final = frozenset(
    {"content-disposition", "content-type", "content-transfer-encoding", "content-length", "content-encoding"}
)
_PLAIN_CODINGS: Final = frozenset({"7bit", "8bit", "binary"})


def _read_section(raw: bytes, start: int) -> Part:
    fields = _read_fields(raw)
    if fields.get("content-transfer-encoding", "binary").lower() not in _PLAIN_CODINGS:
        raise MultipartShapeError("a part is encoded with Content-Transfer-Encoding")
    if fields.get("content-encoding", "identity").lower() != "identity":
        raise MultipartShapeError("a part is compressed with Content-Encoding")
    type_ = fields.get("content-type", "").partition(";")[0].strip(" \t").lower()
    if type_.startswith("multipart/"):
        raise MultipartShapeError("a part is a multipart itself")
    name, filename = _disposition(fields.get("content-disposition", ""))
    return Part(name, filename, type_, start, 0)


def _read_fields(raw: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in raw.split(b"\r\n"):
        field = _FIELD(line)
        if field is None:
            raise MultipartShapeError(_line_shape(line))
        name = field[1].decode("ascii").lower()
        if name in fields and name in _ONCE:
            raise MultipartShapeError(f"a part has the header field {name!r} twice")
        try:
            fields[name] = field[2].strip(b" \t").decode("utf-8")
        except UnicodeDecodeError as error:
            raise MultipartShapeError("a part's header field is not UTF-8") from error
    return fields


def _line_shape(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "a part's header field is folded"
    if b"\x00" in line:
        return "a part's header field has a NUL"
    if b"\r" in line or b"\n" in line:
        return "a part's header section has a line end of one character"
    if b":" in line and line.partition(b":")[0].endswith((b" ", b"\t")):
        return "a part's header field has a space before its colon"
    return "a part's header field is malformed"


_KNOWN: Final = frozenset({"name", "filename", "filename*"})
_BARE: Final = re.compile(_TOKEN).fullmatch


def _disposition(text: str) -> tuple[str, str | None]:
    """Return field name and file name from a Content-Disposition."""
    kind, separator, rest = text.partition(";")
    if kind.strip(" \t").lower() != "form-data":
        raise MultipartShapeError("a part has no Content-Disposition of the kind form-data")
    parameters = _parameters(separator + rest, "part's Content-Disposition")
    if any("*" in name and name not in _KNOWN for name in parameters):
        raise MultipartShapeError("a part's name is continued or encoded")
    if "name" not in parameters:
        raise MultipartShapeError("a part has no name")
    texts = {name: _plain(*parameters[name]) for name in ("name", "filename") if name in parameters}
    return texts["name"], _file_name(texts.get("filename"), parameters.get("filename*"))


def _plain(text: str, quoted: bool) -> str:  # noqa: FBT001 - a pair that belongs together
    """Return a value as the HTML standard escapes it: %22, %0D and %0A stand for what cannot be in quotation marks."""
    if len(text.encode()) > MAX_NAME:
        raise MultipartShapeError("a part's name is too long")
    if not quoted and not _BARE(text):
        raise MultipartShapeError("a part's name is not in quotation marks")
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%22", '"')


# A percent sign is no attr-char (RFC 8187 section 3.2.1), so each character can be matched in one way only.
_EXTENDED: Final = re.compile(
    r"(utf-8|iso-8859-1)'[A-Za-z-]*'((?:%[0-9A-Fa-f]{2}|[!#$&+.^_`|~0-9A-Za-z-])*)", re.IGNORECASE
).fullmatch


def _file_name(plain: str | None, extended: tuple[str, bool] | None) -> str | None:
    """Return the one file name that the two spellings agree on (RFC 6266 section 4.3, RFC 8187).

    RFC 7578 forbids the extended one, so browsers never send it, but .NET, aiohttp and older libraries do.
    """
    if extended is None:
        return plain
    match = _EXTENDED(extended[0]) if len(extended[0]) <= 3 * MAX_NAME else None
    if match is None:
        raise MultipartShapeError("a part's extended file name is malformed")
    name = unquote_to_bytes(match[2]).decode(match[1], "replace")
    if plain is None or name in (plain, *_decoded(plain)):
        return name
    raise MultipartShapeError("a part has two file names that differ")


_WORD: Final = re.compile(r"=\?utf-8\?(b|q)\?([^?]*)\?=", re.IGNORECASE).fullmatch


def _decoded(plain: str) -> Iterator[str]:
    """Yield what clients mean that encode the plain file name too: percent-encoded, or as .NET does by RFC 2047."""
    yield unquote_to_bytes(plain).decode("utf-8", "replace")
    if word := _WORD(plain):
        try:
            raw = b64decode(word[2], validate=True) if word[1] in "bB" else decodestring(word[2].encode(), header=True)
        except Base64Error:
            return
        yield raw.decode("utf-8", "replace")


_SHAPES: Final = (
    ("segment count", "the body has more parts than allowed"),
    ("Content-Length", "a part's Content-Length does not hold"),
    ("header length", "a part's header field is too long"),
    ("header count", "a part has too many header fields"),
    ("line break", "lines end with LF alone"),
    ("after boundary", "there is something behind a boundary on its line"),
    ("after first boundary", "there is something behind a boundary on its line"),
    ("Missing Content-Disposition", "a part has no Content-Disposition"),
    ("Missing name", "a part has no name"),
    ("continuation", "a part's header field is folded"),
    ("decode", "a part's header field is not UTF-8"),
    ("Unexpected end", "the body breaks off: the final boundary is missing"),
)


def _shape(error: MultipartError) -> str:
    """Return in words for the uploader what the parser did not accept."""
    # Only the parser's own words: behind them may stand those of a decoder, "invalid continuation byte".
    text = str(error.args[0]) if error.args else ""
    return next((shape for part, shape in _SHAPES if part in text), "a part's header section is malformed")
