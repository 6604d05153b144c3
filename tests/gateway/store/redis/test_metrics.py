"""Metrics of the store, as an operator reads them."""

import pytest

from aupgate.errors import StoreError
from aupgate.meters import Meter, Quota
from aupgate.metrics import Metrics
from aupgate.store.redis.store import RedisStore


async def test_a_link_that_is_down_shows_with_its_reason() -> None:
    store = RedisStore("unix:///nowhere/redis.sock")
    metrics = Metrics()
    metrics.show(store.families)
    with pytest.raises(StoreError):
        await store.take([[Meter(Quota("tests.metrics", "q", 1, 60.0), "k")]], 0.0)
    text = metrics.render().decode()
    await store.close()
    assert 'aupgate_store_up{link="/nowhere/redis.sock"} 0.0' in text
    assert 'aupgate_store_errors_total{link="/nowhere/redis.sock",reason="connect"} 1.0' in text
    assert "aupgate_store_posts_waiting 0.0" in text
