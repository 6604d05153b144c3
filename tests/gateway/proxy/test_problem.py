"""The answer for an upstream that gives none."""

import json

import pytest

from aupgate.proxy.problem import problem


@pytest.mark.parametrize(("status", "title"), [(502, "Bad Gateway"), (504, "Gateway Timeout")])
def test_a_problem_document_says_what_happened(status: int, title: str) -> None:
    headers, body = problem({}, status, "upstream.timeout", "It took too long.")
    assert json.loads(body) == {
        "type": "urn:aupgate:rule:upstream.timeout",
        "title": title,
        "status": status,
        "detail": "It took too long.",
    }
    assert (b"content-type", b"application/problem+json") in headers
    assert (b"content-length", str(len(body)).encode()) in headers
