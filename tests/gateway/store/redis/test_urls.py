"""URLs of Redis: what each form means, and what is said of those that mean nothing."""

import pytest

from aupgate.store.redis.urls import Target, parse


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://localhost", Target("standalone", (("localhost", 6379),))),
        ("redis://u:p%40ss@h:7/3", Target("standalone", (("h", 7),), username="u", password="p@ss", database=3)),
        ("redis://:secret@h", Target("standalone", (("h", 6379),), password="secret")),
        ("redis://[::1]:7000", Target("standalone", (("::1", 7000),))),
        (
            "rediss://h?ca_file=/ca.pem",
            Target("standalone", (("h", 6379),), tls=True, options={"ca_file": "/ca.pem"}),
        ),
        ("unix:///run/r.sock?db=2", Target("standalone", path="/run/r.sock", database=2)),
        ("unix://u:p@/run/r.sock", Target("standalone", path="/run/r.sock", username="u", password="p")),
        (
            "redis+sentinel://:s@a,b:7/mymaster/1",
            Target("sentinel", (("a", 26379), ("b", 7)), password="s", service="mymaster", database=1),
        ),
        ("redis+cluster://a:1,b", Target("cluster", (("a", 1), ("b", 6379)))),
        ("rediss+cluster://a", Target("cluster", (("a", 6379),), tls=True)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_url_says_where_redis_is_and_who_we_are(url: str, target: Target) -> None:
    assert parse(url) == target


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://h", "'http' is no scheme of Redis"),
        ("redis://", "names no host"),
        ("redis://a,b", "names several servers"),
        ("redis://h:x", "no number from 0 to 65535"),
        ("redis://h:70000", "no number from 0 to 65535"),
        ("redis://h/one", "expected a number as the database, not 'one'"),
        ("redis://h/1/2", "one number as the database"),
        ("redis://h?ca_file=x", "'ca_file' is no option of redis://"),
        ("rediss://h?key_file=x", "key_file needs a cert_file"),
        ("unix://host/run/r.sock", "absolute path of a socket"),
        ("unix://", "absolute path of a socket"),
        ("redis+sentinel://h", "name of the service"),
        ("redis+cluster://h/1", "a cluster has no databases"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(url)


def test_a_target_is_named_without_its_password() -> None:
    assert str(parse("redis://user:secret@h:1")) == "h:1"
    with pytest.raises(ValueError, match="no number") as caught:
        parse("redis://user:secret@h:x")
    assert "secret" not in str(caught.value)
