"""The memory store runs the contract; what it adds are quotas by identity and a journal of each group."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aupgate.meters import Meter, MeterKind
from aupgate.store.memory import MOST_OBJECTS, MOST_QUOTAS, MemoryStore
from tests.gateway.store.contract import NOON, Immediate, StoreContract, quota


class TestMemoryStore(StoreContract):
    def open(self) -> Immediate:
        return Immediate(MemoryStore())


class TestMemoryStoreWhenAlwaysFull(StoreContract):
    """A full store keeps its promises to those whose counters it keeps."""

    def open(self) -> Immediate:
        store = MemoryStore(200)
        filler = quota(1000, 86400.0, name="filler")
        store.take([[Meter(filler, f"filler{number}")] for number in range(200)], NOON)
        return Immediate(store)


def take(store: MemoryStore, meter: Meter, now: float) -> bool:
    return store.take([[meter]], now)[0][0].admitted


@pytest.mark.parametrize("kind", list(MeterKind), ids=str)
def test_refused_groups_leave_nothing_behind(kind: MeterKind) -> None:
    store = MemoryStore()
    for number in range(50):
        store.take([[Meter(quota(kind=kind), f"key{number}", 1, "v"), Meter(quota(0), "full")]], NOON)
    assert len(store) == 0


def test_a_group_that_fails_midway_is_taken_back() -> None:
    store = MemoryStore()
    meter = Meter(quota(1), "k")
    with pytest.raises(AttributeError):
        store.take([[meter, Meter(None, "k")]], NOON)  # type: ignore[arg-type]
    assert take(store, meter, NOON)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.2, 1.0, 5.0]),
            st.lists(st.tuples(st.sampled_from(list(MeterKind)), st.integers(0, 400), st.integers(0, 9)), max_size=4),
        ),
        max_size=200,
    )
)
def test_it_knows_how_much_it_holds(steps: Sequence[tuple[float, list[tuple[MeterKind, int, int]]]]) -> None:
    store, now = MemoryStore(60), NOON
    for pause, group in steps:
        now += pause
        store.take([[Meter(quota(2, 2.0, kind=kind), f"k{key}", 1, f"v{value}") for kind, key, value in group]], now)
        room = store._room
        live = sum(each._weigh(shard) for each in room.counters.values() for shard in each.previous + each.current)
        assert len(store) == live + sum(weigh(shard) for shard, weigh in room.trash)
        assert len(store) <= 60


def test_quotas_made_anew_for_every_request_count_as_one() -> None:
    store = MemoryStore()
    assert sum(take(store, Meter(quota(5), "k"), NOON) for _ in range(2 * MOST_OBJECTS)) == 5


def test_the_number_of_quotas_is_bounded() -> None:
    store = MemoryStore()
    for number in range(MOST_QUOTAS + 10):
        take(store, Meter(quota(name=f"q{number}"), "k"), NOON)
    assert len(store._room.counters) == MOST_QUOTAS
    assert store.evicted == 10
