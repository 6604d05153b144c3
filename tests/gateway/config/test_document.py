from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from aupgate.config.document import Document
from tests.gateway.config.samples import file, problems


@pytest.mark.parametrize(
    ("config", "value"),
    [
        pytest.param({"aup": {"name": 5}}, "5", id="number"),
        pytest.param({"gateway": {"mode": "on"}}, '"on"', id="string"),
        pytest.param({"gateway": {"mode": "x" * 100}}, '"' + "x" * 58 + "…", id="long"),
        pytest.param({"gateway": {"mode": "\x1b[31m\x9b"}}, r'"\u001b[31m\u009b"', id="control characters"),
        pytest.param({"aup": {"name": ["a", True]}}, '["a", true]', id="list"),
        pytest.param({"aup": {"name": {"a": 1}}}, "", id="table"),
        pytest.param({"gateway": {"upstream": "http://u:secret@app"}}, '"http://***@app"', id="password"),
        pytest.param(
            {"store": {"url": "redis+no://:secret@host/0"}}, '"redis+no://***@host/0"', id="password of a store"
        ),
        pytest.param(
            {"store": {"url": "redis+no://:p@ss@host/0"}}, '"redis+no://***@host/0"', id="password with an at sign"
        ),
        pytest.param({"aup": {"name": [{"a": 1}]}}, "", id="list of tables"),
    ],
)
def test_the_value_is_shown_as_written_but_short_and_without_passwords(config: Mapping[str, Any], value: str) -> None:
    (problem,) = problems(config)
    assert problem.value == value


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        pytest.param(b"[gateway]\nlisten =\n", 2, "not TOML: invalid value", id="syntax"),
        pytest.param(b"[gateway]\nworkers = [", 2, "not TOML: ", id="end of file"),
        pytest.param(b"a = 1\na = 2\n", 2, "not TOML: cannot overwrite a value", id="same key twice"),
        pytest.param(b"[aup]\nname = '\xff'\n", 2, "expected text in UTF-8", id="encoding"),
        pytest.param(b"a = " + b"[" * 50 + b"]" * 50, 1, "nested too deeply", id="deep"),
        pytest.param(b"a = " + b"[" * 5000 + b"]" * 5000, None, "nested too deeply", id="very deep"),
        pytest.param(b"#" * 2**20 + b"#", None, "expected no more than 1 MiB", id="huge"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_problem(
    tmp_path: Path, content: bytes, line: int | None, expected: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    (problem,) = problems(path)
    assert (problem.line, problem.key) == (line, "")
    assert expected in problem.expected


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    path = file(tmp_path, '\ufeff[aup]\r\nname = "x"\r\ncontact = "y"\r\n')
    assert [(problem.line, problem.key) for problem in problems(path)] == [(3, "aup.contact")]


def test_a_mapping_may_hold_views_and_sets() -> None:
    document = Document.of({"aup": MappingProxyType({"packs": {"default"}})})
    assert document.raw == {"aup": {"packs": ["default"]}}


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path, name: str) -> None:
    (problem,) = problems(tmp_path / name)
    assert problem.expected.startswith("cannot be read: ")


@pytest.mark.parametrize(
    "config", [{"aup": {"name": "\ud800"}}, {("a", "b"): 1}], ids=["no text", "a key that is no string"]
)
def test_a_mapping_that_is_no_toml_is_a_problem(config: Mapping[Any, Any]) -> None:
    (problem,) = problems(config)
    assert problem.expected.startswith("expected what TOML can hold")
