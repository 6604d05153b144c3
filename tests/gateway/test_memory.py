"""The bounded memory of what was worked out."""

from aupgate.memory import Memory


def test_each_key_is_worked_out_once() -> None:
    asked: list[str] = []

    def work_out(key: str) -> int:
        asked.append(key)
        return len(key)

    known = Memory(work_out, longest=10)
    assert [known["host"], known["host"], known["accept"]] == [4, 4, 6]
    assert asked == ["host", "accept"]


def test_keys_that_clients_make_up_do_not_fill_it() -> None:
    known: Memory[str, int] = Memory(int, longest=10, most=100)
    for number in range(350):
        assert known[str(number)] == number
        assert len(known) <= 100


def test_a_long_key_is_worked_out_and_not_remembered() -> None:
    known: Memory[str, int] = Memory(len, longest=10)
    assert known["x" * 11] == 11
    assert not known


def test_what_cannot_be_worked_out_is_not_remembered() -> None:
    known: Memory[str, int] = Memory(int, longest=10)
    for _ in range(2):
        try:
            known["none"]
        except ValueError:
            continue
    assert not known
