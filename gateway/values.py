"""How values are made: slotted, and never changed once made, which the type checker holds."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[_T]) -> type[_T]:
    """Make `cls` a slotted value: frozen to the type checker, plain at run time.

    A frozen dataclass pays `object.__setattr__` for each field; requests and meters are made on the hot path.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def unique(cls: type[_T]) -> type[_T]:
    """Make `cls` a slotted value that equals only itself, so that looking one up compares no fields."""
    return dataclass(slots=True, eq=False)(cls)
