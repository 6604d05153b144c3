"""Commands: what is fixed is packed once, and a reply that is none of the script's is an error."""

import pytest
from hiredis import Reader

from aupgate.errors import StoreError
from aupgate.meters import Admitted, Meter, Plan, Planned, Quota
from aupgate.store.redis.commands import SHA, Commands, numbers, readings

QUOTA = Quota("tests.commands", "q", 5, 60.0)
PLANNED = Planned(Plan((QUOTA, QUOTA), (0, 1), (1, 2)), ["a", "b"])


def words(command: bytes) -> list[bytes]:
    reader = Reader()
    reader.feed(command)
    return list(reader.gets())


def test_a_planned_group_is_the_same_command_as_its_meters() -> None:
    commands = Commands()
    assert words(commands.take([PLANNED], b"7")) == words(commands.take([list(PLANNED)], b"7"))


def test_the_command_is_as_long_for_every_limit() -> None:
    small, large = (Commands().take([[Meter(Quota("r", "n", limit, 60.0), "k")]], b"") for limit in (10, 10**6))
    assert len(large) - len(small) < 8
    assert words(small)[1] == SHA


def test_planned_meters_that_are_all_admitted_stay_planned() -> None:
    (read,) = readings([PLANNED], [0, 4, 60.0, -1, 3, 60.0, -1])
    assert type(read) is Admitted
    assert [each.remaining for each in read] == [4, 3]


def test_a_refusal_is_read_meter_by_meter() -> None:
    (read,) = readings([PLANNED], [0, 4, 60.0, -1, 0, 60.0, 12.5])
    assert [(each.admitted, each.remaining, each.retry_after) for each in read] == [(True, 4, 0), (False, 0, 12.5)]


@pytest.mark.parametrize("reply", [b"PONG", None, 3, [b"x"]], ids=repr)
def test_a_reply_of_something_else_is_an_error(reply: object) -> None:
    with pytest.raises(StoreError, match="is it the server that was meant"):
        numbers(reply)
