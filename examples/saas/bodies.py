"""Reading request bodies: never more than a stated bound, and with an error that says what was expected."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

SMALL: Final = 64 * 1024
MOST_FIELDS: Final = 20


def media_type(request: Request) -> str:
    """Return the media type of the body without its parameters, in lower case; empty when none is declared."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_type(request: Request, expected: str) -> None:
    """Answer 415 unless the body is declared as `expected`."""
    if media_type(request) != expected:
        raise HTTPException(415, f"content type '{media_type(request)}' is not supported here, send '{expected}'")


async def read_body(request: Request, limit: int) -> bytearray:
    """Return the body; 413 as soon as it is longer than `limit` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"the body is longer than {limit} bytes")
    return body


async def read_json(request: Request) -> Mapping[str, Any]:
    """Return the fields of a JSON object of at most 64 KiB; 400, 413 or 415 when it is none."""
    require_type(request, "application/json")
    body = await read_body(request, SMALL)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not valid json") from error
    if not isinstance(document, dict):
        raise HTTPException(400, "the body must be a json object")
    return document


async def read_form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form of at most 64 KiB, of duplicates the last; 400, 413 or 415 when it is none."""
    require_type(request, "application/x-www-form-urlencoded")
    body = await read_body(request, SMALL)
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise HTTPException(400, "the body is not a valid form") from error


def text(fields: Mapping[str, Any], name: str, longest: int, shortest: int = 1) -> str:
    """Return the text in field `name`, trimmed; 422 unless it has `shortest` to `longest` characters."""
    given = fields.get(name)
    trimmed = given.strip() if isinstance(given, str) else None
    if trimmed is None or not shortest <= len(trimmed) <= longest or not _is_unicode(trimmed):
        raise HTTPException(422, f"field '{name}' must be text of {shortest} to {longest} characters")
    return trimmed


def whole_number(fields: Mapping[str, Any], name: str, largest: int) -> int:
    """Return the whole number in field `name`; 422 unless it is between 0 and `largest`."""
    given = fields.get(name)
    # A bool is an int to Python, and no number to anybody else.
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= largest:
        raise HTTPException(422, f"field '{name}' must be a whole number from 0 to {largest}")
    return given


def _is_unicode(given: str) -> bool:
    # JSON can spell half a surrogate pair, which no response could carry.
    return not any("\ud800" <= character <= "\udfff" for character in given)
