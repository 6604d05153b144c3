import pytest

from bench.figures import NotMeasuredError
from bench.load import parse, request_text
from bench.workloads import FORWARDED, GET, POST, address

FIGURES = '{"requests": 300, "seconds": 2.0, "p50": 0.4, "p99": 1.5, "refused": 0, "broken": 0}'


def test_figures_are_found_in_what_a_generator_prints() -> None:
    load = parse(f"Running 2s test @ http://127.0.0.1:1/\n  300 requests in 2.00s\nfigures {FIGURES}\n")
    assert (load.rate, load.p50, load.p99) == (150, 0.4, 1.5)
    assert load.clean() is load


def test_output_without_figures_is_not_measured() -> None:
    with pytest.raises(NotMeasuredError, match="printed no figures"):
        parse("unable to connect\n")


@pytest.mark.parametrize("key", ["refused", "broken"])
def test_a_load_with_wrong_answers_does_not_count(key: str) -> None:
    with pytest.raises(NotMeasuredError, match="of 300 requests"):
        parse("figures " + FIGURES.replace(f'"{key}": 0', f'"{key}": 3')).clean()


def test_a_browsers_get_has_twelve_header_fields_and_a_session() -> None:
    head, _, body = request_text(GET, 7).partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    assert line == "GET /api/items?page=2&per_page=20 HTTP/1.1"
    assert len(fields) == 12
    assert body == ""
    assert request_text(GET, 7) != request_text(GET, 8)


def test_a_post_carries_one_kib_of_json() -> None:
    head, _, body = request_text(POST, 0).partition("\r\n\r\n")
    assert len(body) == 1024
    assert "content-length: 1024" in head


def test_every_client_has_an_address_of_its_own() -> None:
    assert len({address(client) for client in range(100_000)}) == 100_000
    assert f"x-forwarded-for: {address(9)}\r\n" in request_text(FORWARDED, 9)
