import pytest

from bench.pace import answered, percentile

ANSWER = b"HTTP/1.1 200 OK\r\nServer: any\r\nContent-Length: 5\r\n\r\nhello"


def test_an_answer_counts_once_all_of_it_is_there() -> None:
    assert [answered(ANSWER[:length]) for length in range(len(ANSWER) + 1)] == [0] * len(ANSWER) + [200]


@pytest.mark.parametrize(
    ("percent", "value"), [(50, 50), (99, 99), (100, 100), (0, 1)], ids=["median", "p99", "most", "least"]
)
def test_a_percentile_is_what_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert percentile([float(each) for each in range(1, 101)], percent) == value
