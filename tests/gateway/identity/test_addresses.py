"""Addresses."""

from hypothesis import given
from hypothesis import strategies as st

from aupgate.identity.addresses import parse_address


@given(st.text())
def test_parsing_an_address_never_raises(text: str) -> None:
    parse_address(text)
