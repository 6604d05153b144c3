"""The compact form of signed tokens: it is read, or one error is raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.identity.compact import Compact, TokenError, TokenOutcome, decoded, read, read_object
from tests.gateway.identity.issuers import compact, segment, token

HEADER = {"alg": "RS256"}


def outcome(text: bytes) -> TokenOutcome:
    with pytest.raises(TokenError) as raised:
        read(text)
    return raised.value.outcome


def test_a_token_is_taken_apart() -> None:
    text = token()
    signed, _, signature = text.rpartition(b".")

    assert read(text) == Compact("RS256", "RS256", signed, decoded(signature), signed.split(b".")[1])


@pytest.mark.parametrize("given", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_a_token_may_say_that_it_is_one(given: str) -> None:
    assert read(compact({**HEADER, "typ": given})).algorithm == "RS256"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"", "malformed", id="empty"),
        pytest.param(b"..", "malformed", id="empty segments"),
        pytest.param(b"a", "malformed", id="one segment"),
        pytest.param(segment(HEADER) + b"." + segment({}), "malformed", id="two segments"),
        pytest.param(segment(HEADER) + b"." + segment({}) + b".", "malformed", id="empty signature"),
        pytest.param(b".".join([segment({"alg": "dir", "enc": "A128GCM"})] * 5), "malformed", id="JWE"),
        pytest.param(compact(HEADER) + b"=", "malformed", id="padding"),
        pytest.param(compact(HEADER) + b" ", "malformed", id="trailing space"),
        pytest.param(compact(HEADER) + b"\n", "malformed", id="trailing line feed"),
        pytest.param(compact(HEADER).replace(b".", b".+", 1), "malformed", id="standard base64"),
        pytest.param(compact(HEADER, sign=b"\x01")[:-1] + b"R", "malformed", id="another spelling of the same bytes"),
        pytest.param(segment(HEADER)[:-1] + b"." + segment({}) + b".AQ", "malformed", id="a segment cut short"),
        pytest.param(b"A.A.A", "malformed", id="segments of no length that base64 has"),
        pytest.param(compact(b"not json"), "malformed", id="header is no JSON"),
        pytest.param(compact(b"[]"), "malformed", id="header is a list"),
        pytest.param(compact(b'"RS256"'), "malformed", id="header is a string"),
        pytest.param(compact(b"\xff\xfe{\x00}\x00"), "malformed", id="header in UTF-16"),
        pytest.param(compact(b'\xef\xbb\xbf{"alg":"RS256"}'), "malformed", id="byte order mark"),
        pytest.param(compact(b'{"alg":"none","alg":"RS256"}'), "malformed", id="algorithm twice"),
        pytest.param(compact(b'{"alg":"RS256","x":NaN}'), "malformed", id="a number that JSON does not have"),
        pytest.param(compact(b'{"alg":' + b"[" * 5000), "malformed", id="deep JSON"),
        pytest.param(compact(b'{"alg":"RS256","x":' + b"9" * 5000 + b"}"), "malformed", id="number of 5,000 digits"),
        pytest.param(compact({}), "algorithm", id="no algorithm"),
        pytest.param(compact({"alg": ["RS256"]}), "algorithm", id="list of algorithms"),
        pytest.param(compact({"alg": None}), "algorithm", id="null algorithm"),
        pytest.param(compact({**HEADER, "crit": ["exp"]}), "critical", id="crit"),
        pytest.param(compact({**HEADER, "crit": []}), "critical", id="empty crit"),
        pytest.param(compact({**HEADER, "b64": False}), "critical", id="payload that is not encoded"),
        pytest.param(compact({**HEADER, "typ": "logout+jwt"}), "type", id="logout token"),
        pytest.param(compact({**HEADER, "typ": "dpop+jwt"}), "type", id="proof of possession"),
        pytest.param(compact({**HEADER, "typ": 1}), "type", id="type is a number"),
        pytest.param(compact({**HEADER, "kid": 1}), "unknown_key", id="name of the key is a number"),
        pytest.param(compact({**HEADER, "kid": {"a": 1}}), "unknown_key", id="name of the key is an object"),
        pytest.param(compact({**HEADER, "kid": None}), "unknown_key", id="name of the key is null"),
        pytest.param(compact({**HEADER, "kid": "k" * 257}), "unknown_key", id="huge name of the key"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: bytes, expected: str) -> None:
    assert outcome(text) == expected


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=60).map(segment), max_size=6).map(b".".join))
def test_any_bytes_are_read_or_raise_the_one_error(text: bytes) -> None:
    try:
        found = read(text)
    except TokenError:
        return
    assert found.signed + b"." + segment(found.signature) == text


@given(st.binary(max_size=200).map(segment))
def test_any_segment_is_an_object_or_raises_the_one_error(text: bytes) -> None:
    try:
        found = read_object(text)
    except TokenError:
        return
    assert isinstance(found, dict)


@given(st.binary(max_size=100))
def test_every_segment_stands_for_its_bytes(data: bytes) -> None:
    assert decoded(segment(data)) == data
