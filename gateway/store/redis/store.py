"""The Redis store: counters that several processes and machines share.

A request's groups are one command, whatever the number of its meters: a script that Redis runs as a whole. What is
asked within a turn of the event loop goes out in one write. The time is the server's, so that the clocks of gateways
do not matter.

In a cluster, meters whose keys begin with one subject are on one node. Where those of a request are on several, each
node takes its part, and when one refuses, the others take back what they charged. So another request that comes in
between may be refused too early, for the moment of a round trip; none is ever admitted beyond a limit. What is not
taken back are different values: they stay counted.

A take that was not answered in time may have been carried out all the same: its charges stay, its leases are released.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from hiredis import ReplyError

from aupgate.errors import StoreError, StoreUnavailableError
from aupgate.meters import Meter, MeterKind, Planned, Post, PostKind, Reading
from aupgate.metrics import Family
from aupgate.store import Done, submitted
from aupgate.store.redis.commands import MICROSECONDS, Commands, Groups, check_post, leases, numbers, readings
from aupgate.store.redis.dialing import dial_target
from aupgate.store.redis.link import Link, LinkState
from aupgate.store.redis.metrics import families
from aupgate.store.redis.nodes import ClusterNodes, Nodes, OneNode
from aupgate.store.redis.posts import Posts, Queued, adds_up
from aupgate.store.redis.split import Split
from aupgate.store.redis.urls import Target, parse

MOST_AT_ONCE: Final = 128
"""Posts in one command."""
TIMEOUT: Final = 0.05
"""Seconds that a take may wait."""

_DISTINCT: Final = MeterKind.DISTINCT
_NO_TIME: Final = b""


class RedisStore:
    """Counts meters in Redis. It is a `RemoteStore`, and for one event loop.

    `timeout` is in seconds. With `server_time` False the time is the `now` of each call, as tests want it.
    """

    def __init__(self, url: str | Target, *, timeout: float = TIMEOUT, server_time: bool = True) -> None:
        self.target = parse(url) if isinstance(url, str) else url
        self._server_time = server_time
        self._commands = Commands()
        self._posts = Posts()
        self._posting = False
        self.posts_failed = 0
        """Posts that were sent and not answered, or refused by Redis."""
        self._nodes: Nodes
        if self.target.topology == "cluster":
            self._nodes = ClusterNodes(self.target, timeout, self._post_soon)
            self._divided = True
        else:
            self._nodes = OneNode(Link(str(self.target), dial_target(self.target), timeout, self._post_soon))
            self._divided = False

    @property
    def state(self) -> LinkState:
        """Whether Redis is of use now."""
        return self._nodes.state

    def start(self) -> None:
        """Begin to connect; else the first take does."""
        self._nodes.start()

    async def close(self) -> None:
        """Send what waits, unless Redis is away, and end all connections."""
        if self.state is LinkState.UP:
            await self.drain()
        await self._nodes.close()

    def families(self) -> Iterator[Family]:
        """Tell of the links for `Metrics.show`."""
        links = list(self._nodes.links())
        return families(links, len(self._posts), self._posts.dropped + self.posts_failed)

    # -- takes ---------------------------------------------------------------------------------------------------------

    async def take(self, groups: Groups, now: float) -> list[Sequence[Reading]]:
        """Take each group of meters; see `RemoteStore.take`."""
        return await submitted(self, groups, now)

    def submit(self, groups: Groups, now: float, done: Done) -> None:
        """Take each group of meters; see `RemoteStore.submit`."""
        if self._posts:
            self._send_posts()
        at = _NO_TIME if self._server_time else b"%d" % round(now * MICROSECONDS)
        if not any(map(len, groups)):
            done([[] for _ in groups])
        elif not self._divided:
            self._nodes.ask(0, self._commands.take(groups, at), lambda reply: self._replied(groups, done, reply, now))
        else:
            slots = [[self._slot(meter) for meter in group] for group in groups]
            first = next(slot for group in slots for slot in group)
            if all(slot == first for group in slots for slot in group):
                command = self._commands.take(groups, at)
                self._nodes.ask(first, command, lambda reply: self._replied(groups, done, reply, now))
            else:
                split = Split(groups, slots, self._take_back, done)
                split.take(lambda slot, part, then: self._take_part(slot, part, at, now, then))

    def _slot(self, meter: Meter) -> int:
        return self._nodes.slot(self._commands.key(meter))

    def _replied(self, groups: Groups, done: Done, reply: object, now: float) -> None:
        if type(reply) is bytes:
            try:
                answer: object = readings(groups, numbers(reply))
            except StoreError as error:
                answer = error
        else:
            answer = self._failed(groups, reply, now)
        done(answer)

    def _take_part(self, slot: int, part: Groups, at: bytes, now: float, done: Done) -> None:
        """Take what is in one slot; `done` gets the numbers of the reply or an error."""

        def replied(reply: object) -> None:
            try:
                done(numbers(reply) if type(reply) is bytes else self._failed(part, reply, now))
            except StoreError as error:
                done(error)

        self._nodes.ask(slot, self._commands.take(part, at), replied)

    def _take_back(self, slot: int, meters: Sequence[Meter], at: float) -> None:
        taken_back = [meter for meter in meters if meter.quota.kind is not _DISTINCT]
        if taken_back:
            self._nodes.ask(slot, self._commands.take_back(taken_back, int(at)), self._posted)

    def _failed(self, groups: Groups, reply: object, now: float) -> StoreError:
        """Return the error that `reply` is; leases that may have been granted all the same are released."""
        if not isinstance(reply, StoreUnavailableError):
            for meter in (meter for group in groups for meter in leases(group)):
                self._posts.add(Post(meter, PostKind.RELEASE), now)
            self._post_soon()
        if isinstance(reply, StoreError):
            return reply
        return StoreError(f"Redis did not take the meters: {reply}")

    # -- posts ---------------------------------------------------------------------------------------------------------

    def post(self, posts: Sequence[Post | Planned], now: float) -> None:
        """Change meters with the next batch; see `RemoteStore.post`."""
        single = [post for post in posts if type(post) is Post]
        for post in single:
            check_post(post)
        for post in single:
            self._posts.add(post, now)
        for planned in posts:
            if type(planned) is Planned:
                for meter in leases(planned):
                    self._posts.add(Post(meter, PostKind.RELEASE), now)
        self._post_soon()

    async def drain(self) -> None:
        """Send the posts that wait and await their replies."""
        self._send_posts()
        answered = asyncio.get_running_loop().create_future()
        left = len(links := list(self._nodes.links()))

        def done(_: object) -> None:
            nonlocal left
            left -= 1
            if left <= 0 and not answered.done():
                answered.set_result(None)

        for link in links:
            link.ask(b"PING\r\n", done)
        if links:
            await answered

    def _post_soon(self) -> None:
        if self._posts and not self._posting:
            self._posting = True
            asyncio.get_running_loop().call_soon(self._send_posts)

    def _send_posts(self) -> None:
        self._posting = False
        for _ in range(0, len(self._posts), MOST_AT_ONCE):  # not for as long as there are any: some may come back
            by_command: dict[tuple[int, bytes], list[Queued]] = {}
            for queued in self._posts.pop(MOST_AT_ONCE):
                now = _NO_TIME if self._server_time else b"%d" % round(queued.at * MICROSECONDS)
                by_command.setdefault((self._slot(queued.post.meter), now), []).append(queued)
            for (slot, now), each in by_command.items():
                timed = [(queued.post, self._belongs_at(queued.at)) for queued in each]
                if self._nodes.ready(slot):
                    self._nodes.ask(slot, self._commands.post(timed, now), self._posted_or_again(each))
                else:
                    for queued in each:
                        self._posts.add(queued.post, queued.at)

    def _belongs_at(self, at: float) -> int:
        """Return a time as the script wants it: by the server's clock, of which we know only how long ago it was."""
        return min(0, round((at - time.time()) * MICROSECONDS)) if self._server_time else round(at * MICROSECONDS)

    def _posted_or_again(self, sent: Sequence[Queued]) -> Callable[[object], None]:
        def done(reply: object) -> None:
            if type(reply) is bytes:
                return
            for queued in sent:
                # Ending a lease twice does no harm; what is added twice would.
                if not adds_up(queued.post) and not isinstance(reply, ReplyError):
                    self._posts.add(queued.post, queued.at)
                else:
                    self.posts_failed += 1

        return done

    def _posted(self, reply: object) -> None:
        if type(reply) is not bytes:
            self.posts_failed += 1
