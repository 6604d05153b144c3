"""Posts that wait: added up where that changes nothing, and never more than there is room for."""

from aupgate.meters import Meter, MeterKind, Post, PostKind, Quota
from aupgate.store.redis.posts import Posts

RATE = Quota("tests.posts", "rate", 9, 60.0)
LEASE = Quota("tests.posts", "lease", 9, 60.0, MeterKind.LEASE)


def test_changes_of_one_counter_in_one_window_are_one() -> None:
    posts = Posts()
    for at, amount in ((600.0, 1), (630.0, 2.5), (659.0, -1), (661.0, 4)):
        posts.add(Post(Meter(RATE, "k"), PostKind.ADD, amount), at)
    assert [(queued.post.amount, queued.at) for queued in posts.pop(9)] == [(2.5, 600.0), (4, 661.0)]


def test_leases_end_one_by_one_and_none_twice() -> None:
    posts = Posts()
    for holder in "aba":
        posts.add(Post(Meter(LEASE, "k", 1, holder), PostKind.RELEASE), 600.0)
    assert [queued.post.meter.value for queued in posts.pop(9)] == ["a", "b"]


def test_the_oldest_gives_way_and_is_counted() -> None:
    posts = Posts(most=2)
    for number in range(5):
        posts.add(Post(Meter(RATE, f"k{number}"), PostKind.ADD, 1), 600.0)
    assert (len(posts), posts.dropped) == (2, 3)
    assert [queued.post.meter.key for queued in posts.pop(9)] == ["k3", "k4"]
    assert len(posts) == 0
