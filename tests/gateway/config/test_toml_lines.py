import string
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.config.toml_lines import KeyPath, dotted, key_lines, line_of

DOCUMENT = '''\
# a comment with = and [brackets]
a.b = 1
"quoted \\u00e9" . 'literal.key' = [ # a comment, with "quotes"
  1.5, "a]b, # not a comment",
  [2, 3], { k = "v", deep = { m = [1,
  2] } },
  """
= many lines, ]
[not.a.table]
""", 2020-01-01 10:00:00,
]
empty = {}
none = []
[table]   # explained
key = "="
quotes = """"quoted" and ends with two quotes"""""
after = \'\'\'it's literal\\\'\'\'
[[rows.row]]
n = 1
[[ rows . row ]]
n = 2
[rows.row.sub]
q = 1
[[rows.row.deep]]
z = 1
[[rows.row.deep]]
z = 2
[late.parent.child]
x = 1
[late]
y = 2
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param(("a",), 2, id="a dotted key makes its table"),
        pytest.param(("a", "b"), 2, id="dotted key"),
        pytest.param(("quoted é", "literal.key"), 3, id="quoted and literal keys, spaces around the dot"),
        pytest.param(("quoted é", "literal.key", 0), 4, id="element on the next line"),
        pytest.param(("quoted é", "literal.key", 1), 4, id="string with a bracket and a comma"),
        pytest.param(("quoted é", "literal.key", 2, 1), 5, id="array in an array"),
        pytest.param(("quoted é", "literal.key", 3, "k"), 5, id="inline table in an array"),
        pytest.param(("quoted é", "literal.key", 3, "deep", "m", 1), 6, id="array in a table in a table in an array"),
        pytest.param(("quoted é", "literal.key", 4), 7, id="long string begins"),
        pytest.param(("quoted é", "literal.key", 5), 10, id="date with a space after a long string"),
        pytest.param(("empty",), 12, id="empty inline table"),
        pytest.param(("none",), 13, id="empty array"),
        pytest.param(("table",), 14, id="table"),
        pytest.param(("table", "key"), 15, id="value that looks like syntax"),
        pytest.param(("table", "quotes"), 16, id="long string that ends with quotes"),
        pytest.param(("table", "after"), 17, id="key after it"),
        pytest.param(("rows", "row"), 18, id="array of tables"),
        pytest.param(("rows", "row", 0, "n"), 19, id="first table of an array"),
        pytest.param(("rows", "row", 1), 20, id="second table of an array"),
        pytest.param(("rows", "row", 1, "n"), 21, id="key of the second table"),
        pytest.param(("rows", "row", 1, "sub", "q"), 23, id="table below the last element"),
        pytest.param(("rows", "row", 1, "deep", 1, "z"), 27, id="array of tables below the last element"),
        pytest.param(("late", "parent"), 28, id="a header makes the tables above it"),
        pytest.param(("late",), 30, id="a table's own header counts more"),
    ],
)
def test_a_key_is_found_on_the_line_where_it_is_written(path: KeyPath, line: int) -> None:
    assert key_lines(DOCUMENT)[path] == line


def test_everything_that_tomllib_reads_has_a_line() -> None:
    assert set(paths_of(tomllib.loads(DOCUMENT))) == set(key_lines(DOCUMENT))


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        pytest.param('a = 1\r\nb = """\r\n\r\n"""\r\nc = 2\r\n', ("c",), 5, id="windows line ends"),
        pytest.param('a = """\\\n  "" \\" x"""\nb = 1', ("b",), 3, id="escaped line end and quotes"),
        pytest.param("'' . x = 1\n\"\" . y = 2", ("", "y"), 2, id="empty keys"),
        pytest.param("3.14 = 'pi'", ("3", "14"), 1, id="a key that looks like a number"),
        pytest.param("a = [\n  # nothing yet\n]\nb = 1", ("b",), 4, id="array of comments"),
        pytest.param("a = [[\n1\n], [\n]\n]\n[b]", ("b",), 6, id="brackets on lines of their own"),
        pytest.param('["a.b"."c]"]\nd = 1', ("a.b", "c]", "d"), 2, id="brackets and dots in quoted headers"),
        pytest.param("true = false\n[inf]\nnan = nan", ("inf", "nan"), 3, id="words that are values elsewhere"),
        pytest.param("a = 1 # b = 2\nb = 3", ("b",), 2, id="key in a comment"),
        pytest.param("a=1\n[t]\nb=2", ("t", "b"), 3, id="no spaces, no last line end"),
    ],
)
def test_oddly_written_files_are_read_as_tomllib_reads_them(text: str, path: KeyPath, line: int) -> None:
    assert set(paths_of(tomllib.loads(text))) <= set(key_lines(text))
    assert key_lines(text)[path] == line


def test_arrays_may_nest_deeper_than_python_can_recurse() -> None:
    assert key_lines("a = " + "[" * 5000 + "]" * 5000)[("a",)] == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param(("t", "a"), 2, id="written"),
        pytest.param(("t", "missing"), 1, id="key that is missing: its table"),
        pytest.param(("t", "a", "b", "c"), 2, id="deeper than what is written"),
        pytest.param(("other",), None, id="nothing around it"),
        pytest.param((), None, id="the whole file"),
    ],
)
def test_the_nearest_written_thing_stands_for_what_is_not_written(path: KeyPath, line: int | None) -> None:
    assert line_of(key_lines("[t]\na = 1"), path) == line


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(
            ("policies", "rate_limits", "limits", 0, "rate"), "policies.rate_limits.limits[0].rate", id="usual"
        ),
        pytest.param(("a", 1, 2), "a[1][2]", id="arrays"),
        pytest.param(("aup", "effective", "own pack.toml"), 'aup.effective."own pack.toml"', id="quoted"),
        pytest.param(("a", 'say "x"\n'), 'a."say \\"x\\"\\n"', id="quotes within"),
        pytest.param((), "", id="root"),
    ],
)
def test_paths_read_as_people_write_them(path: KeyPath, text: str) -> None:
    assert dotted(path) == text


def paths_of(node: Any, path: KeyPath = ()) -> list[KeyPath]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return ([path] if path else []) + [found for key, value in below for found in paths_of(value, (*path, key))]


# --- a generator of documents that knows on which line it has put what

Lines = dict[KeyPath, int]

keys = st.one_of(
    st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=4),
    st.sampled_from(['"a.b"', '"[x]"', "'= #'", '"\\u00e9"', '""', "'\"'", "inf", "1"]),
)
scalars = st.sampled_from(
    [
        "1", "-1.5e3", "true", "nan", "0xff", "07:32:00", "1979-05-27 07:32:00", "1979-05-27T07:32:00Z", '""', "''",
        '"a = [1, 2] # x"', "'C:\\[x]'", '"\\""', '"""x"""', "'''''x'''''", '""""x"""""', '"""\n[t]\na = 1\n\\""" """',
        "'''\n\n''", '"""\\\n   """',
    ]
).filter(lambda text: _accepted(f"a = {text}"))  # fmt: skip


def _accepted(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


class Writer:
    """Writes a document piece by piece and counts lines."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: Lines = {}

    def put(self, text: str) -> None:
        self.text += text

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def space(self, *, lines: bool = False) -> None:
        self.put(self.draw(st.sampled_from(["", " ", "\t", "\n", " # ]}, = x\n"] if lines else ["", " ", "\t"])))

    def key(self, path: KeyPath) -> KeyPath | None:
        """Write a key that is new below `path`, and return its path."""
        text = self.draw(keys)
        below = (*path, next(iter(tomllib.loads(f"{text} = 0"))))
        if below in self.lines:
            return None
        self.note(below)
        self.put(text)
        return below

    def pair(self, path: KeyPath, depth: int) -> bool:
        below = self.key(path)
        if below is None:
            return False
        self.space()
        if self.draw(st.booleans()):
            self.put(".")
            self.space()
            below = self.key(below)
            assert below is not None
        self.put("=")
        self.space()
        self.value(below, depth)
        return True

    def value(self, path: KeyPath, depth: int) -> None:
        write = self.draw(st.sampled_from([self.scalar, self.array, self.table] if depth else [self.scalar]))
        write(path, depth - 1)

    def scalar(self, path: KeyPath, depth: int) -> None:
        self.put(self.draw(scalars))

    def array(self, path: KeyPath, depth: int) -> None:
        self.put("[")
        for index in range(self.draw(st.integers(0, 3))):
            self.space(lines=True)
            self.note((*path, index))
            self.value((*path, index), depth)
            self.space(lines=True)
            self.put(",")
        self.space(lines=True)
        self.put("]")

    def table(self, path: KeyPath, depth: int) -> None:
        self.put("{")
        written = False
        for _ in range(self.draw(st.integers(0, 3))):
            mark = len(self.text)
            self.put("," if written else "")
            self.space()
            if self.pair(path, depth):
                written = True
            else:
                self.text = self.text[:mark]
            self.space()
        self.put("}")

    def body(self, path: KeyPath) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.space(lines=True)
            if self.pair(path, 2):
                self.put(self.draw(st.sampled_from(["\n", " # x = 1\n", "\r\n"])))

    def section(self) -> None:
        """Write `[key]` or, once or several times, `[[key]]`, each with a body."""
        mark = len(self.text)
        doubled = self.draw(st.booleans())
        self.put("[[" if doubled else "[")
        self.space()
        path = self.key(())
        if path is None:
            self.text = self.text[:mark]
            return
        name = self.text[mark:].strip("[ \t")
        for index in range(self.draw(st.integers(1, 3)) if doubled else 1):
            self.put(f"[[{name}" if index else "")
            self.note((*path, index) if doubled else path)
            self.put("]]\n" if doubled else "]\n")
            self.body((*path, index) if doubled else path)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, Lines]:
    writer = Writer(draw)
    writer.body(())
    for _ in range(draw(st.integers(0, 3))):
        writer.section()
    return writer.text, writer.lines


@given(documents())
def test_every_key_of_a_generated_document_is_found_on_its_line(document: tuple[str, Lines]) -> None:
    text, lines = document
    tomllib.loads(text)
    assert key_lines(text) == lines


@given(
    st.lists(
        st.sampled_from(
            ["a", "b", "1", "=", ".", ",", "[", "]", "{", "}", '"', "'", "#", "\n", " ", "\\", '"""', "'''", "= 1\n"]
        )
    )
)
def test_whatever_tomllib_accepts_is_scanned_without_an_error_and_completely(pieces: list[str]) -> None:
    text = "".join(pieces)
    if _accepted(text):
        assert set(paths_of(tomllib.loads(text))) == set(key_lines(text))
