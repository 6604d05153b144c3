"""What is written within one turn of the loop is sent at once."""

import asyncio
from typing import Any, cast

from aupgate.proxy.corking import HOLD, CorkedTransport


class Sink:
    """Remembers what a transport was told."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def write(self, data: bytes) -> None:
        self.said.append(data)

    def close(self) -> None:
        self.said.append("close")

    def is_closing(self) -> bool:
        return "close" in self.said

    def get_extra_info(self, name: str) -> str:
        return name


def corked(sink: Sink) -> CorkedTransport:
    return CorkedTransport(cast("asyncio.Transport", sink), asyncio.get_running_loop())


async def test_writes_of_one_turn_are_one_and_those_of_the_next_another() -> None:
    sink = Sink()
    transport = corked(sink)
    transport.write(b"head ")
    transport.write(b"body")
    assert sink.said == []
    await asyncio.sleep(0)
    assert sink.said == [b"head body"]
    transport.write(b"more")
    await asyncio.sleep(0)
    assert sink.said == [b"head body", b"more"]


async def test_no_more_is_held_than_the_bound() -> None:
    sink = Sink()
    transport = corked(sink)
    transport.write(b"x")
    transport.write(b"y" * HOLD)
    assert sink.said == [b"x" + b"y" * HOLD]
    transport.write(b"z" * (HOLD + 1))
    assert sink.said[1:] == [b"z" * (HOLD + 1)]


async def test_a_large_write_does_not_overtake_a_small_one() -> None:
    sink = Sink()
    transport = corked(sink)
    transport.write(b"x")
    transport.write(b"y" * HOLD * 2)
    await asyncio.sleep(0)
    assert b"".join(sink.said) == b"x" + b"y" * HOLD * 2


async def test_flushing_and_closing_send_what_is_held() -> None:
    sink = Sink()
    transport = corked(sink)
    transport.write(b"a")
    transport.flush()
    transport.write(b"b")
    transport.close()
    await asyncio.sleep(0)
    assert sink.said == [b"a", b"b", "close"]
    assert transport.is_closing()


async def test_everything_else_goes_through() -> None:
    assert corked(Sink()).get_extra_info("peername") == "peername"
