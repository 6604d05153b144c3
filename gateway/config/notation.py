"""How values are written: annotations that let strings of a certain form stand for durations, sizes, networks.

They annotate the types of settings, so that settings hold seconds, bytes and addresses and nobody parses them again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


def expectation(text: str, at: str = "") -> PydanticCustomError:
    """Return the error that a validator raises: what would be accepted. `at` names the key, where a table is judged."""
    return PydanticCustomError("expectation", "{expected}", {"expected": text, "at": at})


@dataclass(frozen=True)
class Notation:
    """How a value is written: annotates a type whose settings are strings (or whole numbers) of a certain form."""

    pattern: str
    """Regular expression, anchored at both ends, in the part that Python and ECMA-262 (JSON Schema) share."""
    expected: str
    """What would be accepted, with an example."""
    examples: tuple[str | int, ...]
    parse: Callable[[str], Any] = str
    """Makes the value. A ValueError says the text is not of this notation; `expectation` says it more precisely."""
    write: Callable[[Any], str] = str
    native: tuple[type, ...] = ()
    """Types of values that need no parsing, for settings made in Python."""
    numbers: bool = False
    """Accepts whole numbers as well."""

    def __call__(self, value: object) -> Any:
        """Return the value that `value` stands for."""
        if isinstance(value, self.native):
            return value
        text = str(value) if self.numbers and type(value) is int else value
        if not isinstance(text, str) or not re.fullmatch(self.pattern, text):
            raise expectation(self.expected)
        try:
            return self.parse(text)
        except PydanticCustomError:
            raise
        except ValueError:
            raise expectation(self.expected) from None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self.write, when_used="json")
        return core_schema.no_info_plain_validator_function(self, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        text = {"type": "string", "pattern": self.pattern, "examples": list(self.examples)}
        return {**text, "type": ["string", "integer"], "minimum": 0} if self.numbers else text


class OneOrMore:
    """Annotates a tuple of strings: one string may stand for a list of one."""

    def __call__(self, value: object) -> object:
        """Return `value` as a tuple where it is a string or a list."""
        if isinstance(value, str):
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


@dataclass(frozen=True)
class Later:
    """Annotates a type with values that are planned but not part of this version."""

    pattern: str
    expected: str

    def __call__(self, value: object) -> object:
        """Return `value` unless it is one of the planned ones."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            raise expectation(self.expected)
        return value

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self, handler(source))
