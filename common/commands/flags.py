"""Types that several commands share, and how a spec becomes flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, get_type_hints

import tyro
from docstring_parser import parse_from_object
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from common.errors import UserError
from common.spec import CharacterSpec, LineSpec, UNetSpec

MOVED = {f"--train.{name}": f"--data.{name}" for name in ("examples", "balance", "max-characters", "writer-pattern")}
"""Flags of earlier versions, and their new names."""
Name = Annotated[str, tyro.conf.arg(metavar="NAME")]

REGISTRY = ConstructorRegistry()


@REGISTRY.struct_rule
def _spec_flags(info: StructTypeInfo) -> StructConstructorSpec | None:
    """A flag for each field of a spec, but for those that the data decides."""
    if not (isinstance(info.type, type) and issubclass(info.type, CharacterSpec | LineSpec | UNetSpec)):
        return None
    default, spec_type = info.default, info.type
    hints = get_type_hints(spec_type)
    # a field's docstring is its help
    classes = [each for each in reversed(spec_type.__mro__) if is_dataclass(each)]
    help_of = {row.arg_name: row.description for each in classes for row in parse_from_object(each).params}
    flags = tuple(
        StructFieldSpec(
            name=field.name,
            type=hints[field.name],
            default=getattr(default, field.name),
            helptext=help_of[field.name],
        )
        for field in fields(spec_type)
        if field.name not in spec_type.decided_by_data
    )
    return StructConstructorSpec(instantiate=lambda **given: replace(default, **given), fields=flags)


def _kebab(names: tuple[str, ...]) -> set[str]:
    return {name.replace("_", "-") for name in names}


def flag_names(command: Any, prefix: str = "--") -> list[str]:
    """The flags of a command's type, or of its defaults; groups of flags are the defaults' fields."""
    names = []
    for field in fields(command):
        value = getattr(command, field.name, None)
        name = prefix + field.name.removesuffix("_").replace("_", "-")  # `as_`, because `as` is a keyword
        if is_dataclass(value):
            decided = getattr(value, "decided_by_data", ())
            group = name.removesuffix("-config")
            names += [flag for flag in flag_names(value, f"{group}.") if flag.rpartition(".")[2] not in _kebab(decided)]
        else:
            names.append(name)
    return names


def refuse_moved(arguments: Sequence[str]) -> None:
    """Refuse a flag that has another name now.

    Raises:
        UserError: it names the new flag.
    """
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag in MOVED:
            raise UserError(f"{flag} is now {MOVED[flag]}: it says which data to use, not how to train; give that flag")
