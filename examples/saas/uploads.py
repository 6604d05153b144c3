"""Uploads: a file in a form, or raw under a name the client chooses; and their download."""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from examples.saas.bodies import media_type, read_body, require_type
from examples.saas.state import MIB, Upload, state_of

LARGEST_UPLOAD: Final = 32 * MIB
MOST_PARTS: Final = 16
CHUNK: Final = 64 * 1024
UNKNOWN_TYPE: Final = "application/octet-stream"

_CHOSEN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,62}/[a-z0-9][a-z0-9.+-]{0,62}", re.ASCII)


class Uploads(HTTPEndpoint):
    """`/uploads`: where forms send files."""

    async def post(self, request: Request) -> Response:
        """Store the file in the part `file`."""
        part = await _read_file_part(request)
        upload = await _store(request, secrets.token_hex(8), part.name, part.type, part.content)
        return JSONResponse(upload.summary(), 201, headers={"Location": f"/uploads/{upload.id}"})


class OneUpload(HTTPEndpoint):
    """`/uploads/{id}`: one stored file."""

    async def get(self, request: Request) -> Response:
        """Download it, always as an attachment: a browser must never run what a user stored."""
        upload = state_of(request).uploads.get(request.path_params["id"])
        if upload is None:
            raise HTTPException(404, f"there is no upload '{request.path_params['id']}'")
        headers = {
            "Content-Length": str(len(upload.content)),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(upload.name, safe='')}",
            "X-Content-Type-Options": "nosniff",
        }
        body = _slices(upload.content if request.method == "GET" else b"")
        return StreamingResponse(body, headers=headers, media_type=upload.type)

    async def put(self, request: Request) -> Response:
        """Store the body itself, as the id and name that the path gives; 200 when it replaces an earlier one."""
        name = request.path_params["id"]
        if not _CHOSEN_ID.fullmatch(name):
            raise HTTPException(422, f"'{name}' is no name for an upload, use letters, digits, '.', '_' and '-'")
        existed = name in state_of(request).uploads
        content = await read_body(request, LARGEST_UPLOAD)
        upload = await _store(request, name, name, media_type(request), content)
        return JSONResponse(upload.summary(), 200 if existed else 201)


@dataclass(slots=True)
class FilePart:
    """Collects the part named `file` from the parser's events; every other part is skipped."""

    name: str = ""
    type: str = UNKNOWN_TYPE
    content: bytearray = field(default_factory=bytearray)
    seen: bool = False
    _inside: bool = False

    def take(self, events: Iterable[MultipartSegment | bytes | bytearray | None]) -> None:
        """Take a run of events: a part's head, its bytes, None at its end."""
        for event in events:
            if isinstance(event, MultipartSegment):
                self._open(event)
            elif event is not None and self._inside:
                self.content += event

    def _open(self, segment: MultipartSegment) -> None:
        self._inside = segment.name == "file" and bool(segment.filename)
        if not self._inside:
            return
        if self.seen:
            raise HTTPException(422, "the form has more than one part 'file', send one at a time")
        self.seen, self.name, self.type = True, str(segment.filename)[:200], str(segment.content_type or "")


async def _read_file_part(request: Request) -> FilePart:
    require_type(request, "multipart/form-data")
    boundary = parse_options_header(request.headers["content-type"])[1].get("boundary", "")
    part = FilePart()
    try:
        with PushMultipartParser(
            boundary, max_segment_size=LARGEST_UPLOAD, max_segment_count=MOST_PARTS, strict=True
        ) as parser:
            async for chunk in request.stream():
                if chunk:
                    part.take(parser.parse(chunk))
    except ParserLimitReached as error:
        raise HTTPException(413, f"the form has a part over {LARGEST_UPLOAD} bytes or too many parts") from error
    except MultipartError as error:
        raise HTTPException(400, "the body is not a valid multipart form") from error
    if not part.seen:
        raise HTTPException(422, "the form has no file in a part named 'file'")
    return part


async def _store(request: Request, identity: str, name: str, declared: str, content: bytearray) -> Upload:
    digest = await run_in_threadpool(lambda: hashlib.sha256(content).hexdigest())
    # The type goes into a response header later, so only what looks like one is believed.
    known = declared if _MEDIA_TYPE.fullmatch(declared) else UNKNOWN_TYPE
    return state_of(request).uploads.keep(identity, Upload(identity, name, known, digest, content))


async def _slices(content: bytes | bytearray) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield bytes(content[start : start + CHUNK])
