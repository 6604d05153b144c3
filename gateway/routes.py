"""Path templates and the table that finds which of them a path matches.

Templates are written as Starlette writes them: literal segments, `{name}` for one non-empty segment, `{name:int}`,
`{name:float}` and `{name:uuid}` for one segment of that form, `{name:path}` for the rest of the path, which may be
empty, and any of them within a segment, as in `/files/{name}.json`. Matching is case-sensitive.

One trailing slash makes no difference, neither in a template nor in a path: `/internal` matches `/internal/`, and
`/internal/{rest:path}` matches `/internal` too. Applications redirect between the two spellings or serve both, so a
rule that held for one of them only would be a way around it.

Paths are expected in the normal form of `aupgate.http.normalise_path`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import re2

from aupgate.http import normalise_path
from aupgate.values import value

T = TypeVar("T")

_CONVERTERS: Final = {
    "str": r"[^/]+",
    "path": r"(?s:.*)",
    "int": r"[0-9]+",
    "float": r"[0-9]+(?:\.[0-9]+)?",
    "uuid": r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}",
}
MOST_PATHS: Final = 4096
"""Paths whose look-up is remembered; the memory starts anew when it is full."""
LONGEST_PATH: Final = 256
"""Characters of a path that is remembered: clients choose paths."""
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


@value
class Placeholder:
    """One `{name:converter}` of a template."""

    name: str
    converter: str


Piece = str | Placeholder


@value
class Template:
    """A parsed template: its segments, each a sequence of literals and placeholders."""

    text: str
    segments: tuple[tuple[Piece, ...], ...]


def parse_template(text: str) -> Template:
    """Parse `text`. Raises `ValueError` saying what is wrong and what would be right."""
    if not text.startswith("/"):
        raise ValueError(f"path template {text!r} does not start with a slash, write {'/' + text!r}")
    if "?" in text or "#" in text:
        raise ValueError(f"path template {text!r} has a query or fragment, rules match the path alone")
    normal = normalise_path(text.encode("utf-8", "backslashreplace"))
    if normal != text:
        raise ValueError(f"path template {text!r} matches nothing, paths are matched in normal form: write {normal!r}")
    template = Template(text, tuple(_parse_segment(text, part) for part in _split(text)))
    _check_names(template)
    return template


def _split(path: str) -> list[str]:
    """Return the segments of `path` without the leading slash and without one trailing slash."""
    return path[1:].removesuffix("/").split("/") if len(path) > 1 else []


def _parse_segment(text: str, segment: str) -> tuple[Piece, ...]:
    # Splitting on a pattern with one group yields literals at even and placeholders at odd places.
    parts = _PLACEHOLDER.split(segment)
    pieces = (_placeholder(text, part) if place % 2 else _literal(text, part) for place, part in enumerate(parts))
    return tuple(piece for piece in pieces if piece)


def _literal(text: str, part: str) -> str:
    if "{" in part or "}" in part:
        raise ValueError(f"path template {text!r} has an unpaired brace in {part!r}, write {{name}} or {{name:path}}")
    return part


def _placeholder(text: str, part: str) -> Placeholder:
    name, _, converter = part.partition(":")
    converter = converter or "str"
    if not name.isidentifier():
        raise ValueError(f"path template {text!r} has no valid name in {'{' + part + '}'!r}, use letters, digits and _")
    if converter not in _CONVERTERS:
        known = ", ".join(_CONVERTERS)
        raise ValueError(f"path template {text!r} has an unknown converter {converter!r}, use one of {known}")
    return Placeholder(name, converter)


def _check_names(template: Template) -> None:
    placeholders = [piece for segment in template.segments for piece in segment if isinstance(piece, Placeholder)]
    names = [placeholder.name for placeholder in placeholders]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"path template {template.text!r} uses the name {twice!r} twice, give each its own")
    if sum(placeholder.converter == "path" for placeholder in placeholders) > 1:
        raise ValueError(f"path template {template.text!r} has two path placeholders, one matches all that is needed")


Matcher = Callable[[str], object]


def _matcher(pattern: str) -> Matcher:
    """Compile `pattern` with RE2: linear in the path whatever the template, where stdlib's may be a power of it."""
    compiled = re2.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _pattern(pieces: Sequence[Piece]) -> str:
    return "".join(re2.escape(piece) if isinstance(piece, str) else _CONVERTERS[piece.converter] for piece in pieces)


class _Node:
    """One place in the trie: what may follow it, and the entries that end here."""

    __slots__ = ("any_rest", "ends", "goes_on", "literals", "patterns", "rests")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.patterns: dict[str, tuple[Matcher, _Node]] = {}
        self.ends: list[int] = []
        self.any_rest: list[int] = []
        self.rests: list[tuple[Matcher, int]] = []
        self.goes_on = False

    def child(self, segment: Sequence[Piece]) -> "_Node":
        """Return the node for `segment` below this one, made when it is new."""
        if len(segment) == 1 and isinstance(segment[0], str):
            return self.literals.setdefault(segment[0], _Node())
        pattern = _pattern(segment)
        if pattern not in self.patterns:
            matcher: Matcher = bool if pattern == _CONVERTERS["str"] else _matcher(pattern)
            self.patterns[pattern] = (matcher, _Node())
        return self.patterns[pattern][1]

    def add_rest(self, segments: Sequence[Sequence[Piece]], index: int) -> None:
        """Let entry `index` match whatever of the path follows this node in the form of `segments`."""
        self.goes_on = True
        pattern = "/".join(_pattern(segment) for segment in segments)
        if pattern == _CONVERTERS["path"]:
            self.any_rest.append(index)
        else:
            self.rests.append((_matcher(pattern), index))

    def rest_of(self, segments: Sequence[str], depth: int) -> list[int]:
        """Return the entries that match whatever `segments` hold from `depth` on."""
        if not self.rests:
            return self.any_rest
        rest = "/".join(segments[depth:])
        return self.any_rest + [index for matches, index in self.rests if matches(rest)]


class RouteTable(Generic[T]):
    """Finds the values whose templates match a path.

    A trie over the segments: a look-up costs by the depth of the path, not by the number of entries. Two exceptions,
    tested one by one at the place in the trie where they branch off: segments that mix literals and placeholders, and
    templates that go on after a `{name:path}`.
    """

    def __init__(self, entries: Sequence[tuple[str, T]]) -> None:
        self._values = tuple(each for _, each in entries)
        self._root = _Node()
        self._known: dict[str, Sequence[T]] = {}
        for index, (text, _) in enumerate(entries):
            self._add(parse_template(text), index)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._values)

    def _add(self, template: Template, index: int) -> None:
        node = self._root
        for depth, segment in enumerate(template.segments):
            if any(isinstance(piece, Placeholder) and piece.converter == "path" for piece in segment):
                node.add_rest(template.segments[depth:], index)
                return
            node = node.child(segment)
        node.ends.append(index)

    def find(self, path: str) -> Sequence[T]:
        """Return the values of all templates that match `path`, in the order of declaration."""
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= MOST_PATHS:
                self._known.clear()
            known = self._find(path)
            if len(path) <= LONGEST_PATH:
                self._known[path] = known
        return known

    def _find(self, path: str) -> Sequence[T]:
        if not path.startswith("/"):
            return ()
        return tuple(self._values[index] for index in sorted(self._walk(_split(path))))

    def _walk(self, segments: Sequence[str]) -> list[int]:
        found: list[int] = []
        level = [self._root]
        for depth, segment in enumerate(segments):
            following: list[_Node] = []
            for node in level:
                if node.goes_on:
                    found += node.rest_of(segments, depth)
                if (literal := node.literals.get(segment)) is not None:
                    following.append(literal)
                if node.patterns:
                    following += [child for matches, child in node.patterns.values() if matches(segment)]
            if not following:
                return found
            level = following
        for node in level:
            found += node.ends
            if node.goes_on:
                found += node.rest_of(segments, len(segments))
        return found
