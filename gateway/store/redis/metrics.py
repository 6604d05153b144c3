"""What the Redis store tells of itself."""

from collections.abc import Iterator, Sequence

from aupgate.metrics import Family
from aupgate.store.redis.link import Link, LinkState


def families(links: Sequence[Link], waiting: int, lost: int) -> Iterator[Family]:
    """Yield the families of `links`, and of the posts: those that wait and those that were lost."""
    by_link = ("link",)
    named = [((link.name,), link) for link in links]
    yield Family(
        "gauge",
        "aupgate_store_up",
        "1 while the link to a Redis server is of use, 0 while its circuit is open",
        by_link,
        [(name, float(link.state is LinkState.UP)) for name, link in named],
    )
    yield Family(
        "counter",
        "aupgate_store_commands",
        "Commands sent: one for each take, and for each batch of posts",
        by_link,
        [(name, link.tally.commands) for name, link in named],
    )
    yield Family(
        "counter",
        "aupgate_store_batches",
        "Writes to Redis; each carries the commands of one turn of the event loop",
        by_link,
        [(name, link.tally.batches) for name, link in named],
    )
    yield Family(
        "counter",
        "aupgate_store_seconds",
        "Seconds that commands waited for their batch to be answered, all together",
        by_link,
        [(name, link.tally.seconds) for name, link in named],
    )
    yield Family(
        "counter",
        "aupgate_store_connects",
        "Connections made to Redis",
        by_link,
        [(name, link.tally.connects) for name, link in named],
    )
    yield Family(
        "counter",
        "aupgate_store_errors",
        "What went wrong with Redis, by reason",
        ("link", "reason"),
        [((*name, reason), count) for name, link in named for reason, count in link.tally.errors.items()],
    )
    yield Family("gauge", "aupgate_store_posts_waiting", "Settlements that wait for Redis", (), [((), waiting)])
    yield Family("counter", "aupgate_store_posts_lost", "Settlements that were given up", (), [((), lost)])
