"""What may be logged of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.model import Account
from aupgate.redaction import MAX_TEXT, account_hash, redact, redact_target


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        (b"/a?page=2&sort=name", "/a?page=2&sort=name"),
        (b"/a?token=abc&page=2", "/a?token=[redacted]&page=2"),
        (b"/a?API_KEY=abc", "/a?API_KEY=[redacted]"),
        (b"/reset?code=123456", "/reset?code=[redacted]"),
        (b"/a?password=", "/a?password="),
        (b"http://ann:secret@host/a", "http://[redacted]@host/a"),
        (b"/a;v=1;session_id=1?b=2", "/a;v=1;session_id=[redacted]?b=2"),
        (b"/a;JSESSIONID=abc/b", "/a;JSESSIONID=[redacted]/b"),
        (b"/a?%70assword=abc", "/a?%70assword=[redacted]"),
        (b"/a?pwd=abc&api.key=abc&ticket=ST-1", "/a?pwd=[redacted]&api.key=[redacted]&ticket=[redacted]"),
        (b"/a?next=/r?token=abc&b=2", "/a?next=[redacted]&b=2"),
        (b"/a?next=%2Fr%3Ftoken%3Dabc", "/a?next=[redacted]"),
        (b"/a?next=/r?page=2", "/a?next=/r?page=2"),
        (b"/a\x1b[2J\n", "/a\\x1b[2J\\x0a"),
    ],
)
def test_secrets_in_a_target_are_not_logged(target: bytes, logged: str) -> None:
    assert redact_target(target) == logged


def test_secrets_in_evidence_are_not_logged_at_any_depth() -> None:
    evidence = {"cookie": "a=b", "names": ["x"], "nested": {"authorization": "Bearer x", "count": 1}, "raw": b"\xff"}
    assert redact({"hosts": ["ann:secret@host"], "malware": "Eicar"}) == {
        "hosts": ["[redacted]@host"],
        "malware": "Eicar",
    }
    assert redact(evidence) == {
        "cookie": "[redacted]",
        "names": ["x"],
        "nested": {"authorization": "[redacted]", "count": 1},
        "raw": "ÿ",
    }


@given(st.binary(max_size=5000))
def test_a_logged_target_is_bounded(target: bytes) -> None:
    assert len(redact_target(target)) <= MAX_TEXT + 30
    assert redact_target(target).isprintable()


def test_an_account_is_logged_as_a_hash_that_tells_sources_apart() -> None:
    one, other = (account_hash(Account("ann", source, verified=True)) for source in ("scope:user", "key:x"))
    assert one != other
    assert one is not None
    assert "ann" not in one
    assert account_hash(None) is None
