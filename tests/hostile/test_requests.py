"""No hostile request reaches an application, and every benign one does, whatever server is in front.

The requests are in requests.toml, each sent whole and byte by byte. docs/protocol.md has the result as a table.
"""

from functools import lru_cache

import pytest

from tests.hostile.exchanges import BENIGN, HOSTILE, SERVERS, Exchange, exchanges

pytestmark = [pytest.mark.xdist_group("hostile"), pytest.mark.parametrize("server", SERVERS)]
made = lru_cache(maxsize=None)(exchanges)


def of(server: str, kind: str) -> list[Exchange]:
    """Return the exchanges of `kind` with `server`: h for hostile, b for benign."""
    return [each for each in made(server) if each.mark.startswith(kind)]


def test_no_hostile_request_is_answered_for(server: str) -> None:
    hostile = [each for each in of(server, "h") if server not in each.request.get("read_past_by", ())]
    assert [(each.name, each.status) for each in hostile if 0 < each.status < 400] == []


def test_no_application_sees_a_hostile_request(server: str) -> None:
    hostile = [each for each in of(server, "h") if server not in each.request.get("read_past_by", ())]
    assert [(each.name, each.seen) for each in hostile if each.seen] == []


def test_what_a_server_reads_past_is_one_plain_request(server: str) -> None:
    past = [each for each in of(server, "h") if server in each.request.get("read_past_by", ())]
    paths = {f"/{each.mark}": each.name for each in past}
    seen = [line for each in past for line in each.seen]
    assert [line for line in seen if line["path"] not in paths] == []
    assert [each.name for each in past if len(each.seen) > 1] == []


def test_every_benign_request_reaches_the_application_as_often_as_it_was_sent(server: str) -> None:
    wanted = [each for each in of(server, "b") if server not in each.request.get("not_by", ())]
    assert [
        (each.name, len(each.seen), each.status) for each in wanted if len(each.seen) != each.request["times"]
    ] == []
    assert [(each.name, each.status) for each in wanted if each.status != 200] == []


def test_what_a_server_cannot_do_is_refused_and_not_done_by_halves(server: str) -> None:
    unable = [each for each in of(server, "b") if server in each.request.get("not_by", ())]
    assert [(each.name, each.seen) for each in unable if each.seen and each.status >= 400] == []


def test_the_body_that_arrives_is_as_long_as_was_said(server: str) -> None:
    lengths = [(each.name, seen) for each in made(server) for seen in each.seen if "content-length" in seen["framing"]]
    assert [(name, seen) for name, seen in lengths if int(seen["framing"]["content-length"]) != seen["size"]] == []


def test_there_are_enough_of_both(server: str) -> None:
    assert len(HOSTILE) >= 80
    assert len(BENIGN) >= 25


def test_the_proxy_refuses_as_it_is_told(server: str) -> None:
    if server == "proxy":
        refused = [each for each in of(server, "h") if server not in each.request.get("read_past_by", ())]
        assert [(each.name, each.status) for each in refused if each.status != each.request["status"]] == []
