"""Which node of a cluster has which slot, with a link to each; and the one server of those that are no cluster."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from hiredis import ReplyError
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisClusterException, RedisError

from aupgate.errors import StoreError, StoreUnavailableError
from aupgate.store import Done
from aupgate.store.redis.commands import pack_command
from aupgate.store.redis.connection import ignore
from aupgate.store.redis.dialing import client_options, dial_node
from aupgate.store.redis.link import FIRST_PAUSE, LONGEST_PAUSE, PROBE, Link, LinkState
from aupgate.store.redis.urls import Node, Target

MOST_NODES: Final = 1000
MOST_EARLY: Final = 10_000
_ASKING: Final = pack_command(("ASKING",))


class Nodes(Protocol):
    """Servers between which keys may be divided."""

    def slot(self, key: bytes) -> int:
        """Return which keys go together with `key`: those with the same number."""

    def ready(self, slot: int) -> bool:
        """Tell whether the server that has `slot` is of use now."""

    def ask(self, slot: int, command: bytes, done: Done) -> None:
        """Ask the server that has `slot`."""

    def links(self) -> Iterable[Link]:
        """The links there are."""

    @property
    def state(self) -> LinkState:
        """How it stands: the worst of the links."""

    def start(self) -> None:
        """Begin to connect."""

    async def close(self) -> None:
        """End all links."""


class OneNode:
    """One server, which has every key."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.start = link.start
        self.close = link.close

    @staticmethod
    def slot(key: bytes) -> int:  # noqa: ARG004 - of the protocol
        """Return the one slot there is."""
        return 0

    def ready(self, slot: int) -> bool:  # noqa: ARG002 - of the protocol
        """Tell whether the server is of use now."""
        return self._link.state is LinkState.UP

    def ask(self, slot: int, command: bytes, done: Done) -> None:  # noqa: ARG002 - of the protocol
        """Ask the server."""
        self._link.ask(command, done)

    def links(self) -> Iterable[Link]:
        """The one link."""
        return (self._link,)

    @property
    def state(self) -> LinkState:
        """The state of the link."""
        return self._link.state


class ClusterNodes:
    """The primaries of a cluster.

    Its layout is redis-py's to find out: at the start, and again when a slot has moved or a link is lost.
    """

    slot = staticmethod(key_slot)

    def __init__(self, target: Target, timeout: float, on_up: Callable[[], None]) -> None:
        self._target = target
        self._timeout = timeout
        self._on_up = on_up
        self._slots: dict[int, Link] = {}
        self._links: dict[Node, Link] = {}
        self._early: list[tuple[int, bytes, Done]] = []
        self._refresher: asyncio.Task[None] | None = None
        self._known = asyncio.Event()
        self._away = False
        self._closed = False

    def ready(self, slot: int) -> bool:
        """Tell whether the node that has `slot` is of use now."""
        link = self._slots.get(slot)
        return link is not None and link.state is LinkState.UP

    def ask(self, slot: int, command: bytes, done: Done) -> None:
        """Ask the node that has `slot`, and follow it once where the slot has moved."""
        link = self._slots.get(slot)
        if link is not None:
            if link.state is LinkState.DOWN:
                self._refresh()
            link.ask(command, lambda reply: self._replied(command, done, reply))
        elif self._away or self._closed or len(self._early) >= MOST_EARLY:
            self._refresh()
            done(StoreUnavailableError(f"the cluster at {self._target} is away, or has no node for slot {slot}"))
        else:
            self._wait_for_layout(slot, command, done)

    def links(self) -> Iterable[Link]:
        """The links to the primaries."""
        return self._links.values()

    @property
    def state(self) -> LinkState:
        """The worst of the links; before there are any, whether the layout could be had."""
        states = {link.state for link in self._links.values()}
        if self._away or LinkState.DOWN in states:
            return LinkState.DOWN
        return LinkState.UP if states == {LinkState.UP} else LinkState.CONNECTING

    def start(self) -> None:
        """Find out the layout, and connect to every primary."""
        self._refresh()

    async def close(self) -> None:
        """End all links."""
        self._closed = True
        if self._refresher is not None:
            self._refresher.cancel()
            await asyncio.wait([self._refresher])
        for link in self._links.values():
            await link.close()
        self._fail_early("the store is closed")

    def _replied(self, command: bytes, done: Done, reply: Any) -> None:
        if type(reply) is ReplyError:
            word, _, rest = str(reply).partition(" ")
            if word in {"MOVED", "ASK"}:
                self._follow(word, rest, command, done)
                return
            if word == "CLUSTERDOWN":
                self._refresh()
        done(reply)

    def _follow(self, word: str, rest: str, command: bytes, done: Done) -> None:
        """Ask the node that another names; `rest` is a slot and an address."""
        slot, _, address = rest.partition(" ")
        host, _, port = address.rpartition(":")
        link = self._link((host or self._target.nodes[0][0], int(port)))
        if word == "ASK":
            link.ask(_ASKING, ignore)
        else:
            self._slots[int(slot)] = link
            self._refresh()
        link.ask(command, done)

    def _link(self, node: Node) -> Link:
        link = self._links.get(node)
        if link is None:
            if len(self._links) >= MOST_NODES:
                raise StoreError(f"the cluster at {self._target} has more than {MOST_NODES} nodes")
            link = self._links[node] = Link(
                f"{node[0]}:{node[1]}", dial_node(self._target, node), self._timeout, self._on_up
            )
            link.start()
        return link

    # -- layout --------------------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        if not self._closed and (self._refresher is None or self._refresher.done()):
            self._refresher = asyncio.get_running_loop().create_task(self._find_layout(), name="redis cluster layout")

    async def _find_layout(self) -> None:
        pause = FIRST_PAUSE
        while not await self._layout_found():
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        await asyncio.sleep(FIRST_PAUSE)  # at most so often, however many replies say that slots have moved

    async def _layout_found(self) -> bool:
        try:
            async with asyncio.timeout(PROBE):
                owners = await self._owners()
        except (OSError, StoreError, RedisError, RedisClusterException) as error:
            self._away = not any(link.state is LinkState.UP for link in self._links.values())
            self._fail_early(f"the cluster at {self._target} is away: {str(error) or 'no answer'}")
            return False
        self._away = False
        self._slots = {slot: self._link(node) for slot, node in owners.items()}
        gone = set(self._links) - set(owners.values())
        for node in gone:
            await self._links.pop(node).close()
        early, self._early = self._early, []
        for slot, command, done in early:
            self.ask(slot, command, done)
        return True

    async def _owners(self) -> dict[int, Node]:
        nodes = [ClusterNode(*node) for node in self._nodes_to_ask()]
        cluster = RedisCluster(
            startup_nodes=nodes,
            require_full_coverage=False,
            retry=Retry(NoBackoff(), 0),
            **client_options(self._target),
        )
        try:
            await cluster.initialize()
            found = cluster.nodes_manager.slots_cache
            return {
                slot: (str(found[slot][0].host), int(found[slot][0].port))
                for slot in range(REDIS_CLUSTER_HASH_SLOTS)
                if found.get(slot)
            }
        finally:
            await cluster.aclose()

    def _nodes_to_ask(self) -> list[Node]:
        return list(dict.fromkeys([*self._target.nodes, *self._links]))

    def _wait_for_layout(self, slot: int, command: bytes, done: Done) -> None:
        self._refresh()
        if not self._early:
            reason = f"the cluster at {self._target} is not up yet"
            asyncio.get_running_loop().call_later(self._timeout, self._fail_early, reason)
        self._early.append((slot, command, done))

    def _fail_early(self, reason: str) -> None:
        early, self._early = self._early, []
        for _, _, done in early:
            done(StoreUnavailableError(reason))
