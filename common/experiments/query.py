"""Choose and order runs by their fields: `rung=lstm_ctc`, `cer<0.1`, `train.epochs>=5`."""

from __future__ import annotations

import difflib
import json
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.experiments.found import FoundRun, known_fields

_CONDITION = re.compile(r"\s*([\w./-]+?)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition on one field."""

    name: str
    sign: str
    value: Any
    """A number, a truth value, a list, null or a text."""

    def holds(self, found: Any) -> bool:
        """Whether a value meets the condition. A missing value meets only `!=`, and `=null`."""
        if self.sign == "~":
            return found is not None and str(self.value).lower() in str(found).lower()
        wanted = self.value
        if isinstance(found, str) and not isinstance(wanted, str):
            wanted = None if wanted is None else json.dumps(wanted)
        if isinstance(wanted, str) and found is not None and not isinstance(found, str):
            found = json.dumps(found)
        if self.sign in ("=", "==", "!="):
            return _OPERATORS[self.sign](found, wanted)
        if found is None or isinstance(found, list | bool) or isinstance(found, str) != isinstance(wanted, str):
            return False
        return _OPERATORS[self.sign](found, wanted)


def parse_condition(text: str) -> Condition:
    """A condition from its text.

    Raises:
        UserError: it has no sign, or compares the order of something that has none.
    """
    match = _CONDITION.fullmatch(text)
    if match is None or (not match[3] and match[2] not in ("=", "==", "!=")):
        raise UserError(f"--where {text!r} is no condition; write FIELD=VALUE or FIELD<VALUE, such as 'cer<0.1'")
    value = _value(match[3])
    if match[2] in ("<", "<=", ">", ">=") and (value is None or isinstance(value, bool | list | dict)):
        raise UserError(f"--where {text!r} compares with {match[3]}, which has no order; give a number or a text")
    return Condition(name=match[1], sign=match[2], value=value)


def _value(text: str) -> Any:
    """A value as JSON writes it, a percentage, `True`, `False` or `None`, or else a text."""
    if re.fullmatch(r"[-+]?\d+(\.\d*)?%", text):
        return float(text[:-1]) / 100
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def resolve(name: str, known: Sequence[str]) -> str:
    """The full name of a field: exact, as its flag (`data.examples`), or its last part if only one field ends in it.

    Raises:
        UserError: no field, or several fields, have this name.
    """
    plain = name.replace("-", "_")
    plain = re.sub(r"^(config|result|environment)\.", "", plain)
    for candidate in (name, plain, re.sub(r"^data\.", "data_config.", plain), plain.replace("/", ".")):
        if candidate in known:
            return candidate
    ending = [each for each in known if each.endswith(f".{plain}")]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise UserError(f"several fields are called {name!r}: give one of {', '.join(sorted(ending))}")
    nearest = difflib.get_close_matches(plain, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise UserError(f"no run has a field {name!r}: {hint}`fourhands runs show RUN --json` prints all fields")


def chosen(runs: Sequence[FoundRun], where: Iterable[str]) -> list[FoundRun]:
    """The runs that meet all conditions.

    Raises:
        UserError: a condition that cannot be read, or an unknown field.
    """
    conditions = [parse_condition(text) for text in where]
    if not runs:
        return []
    known = known_fields(runs)
    named = [(resolve(condition.name, known), condition) for condition in conditions]
    return [run for run in runs if all(condition.holds(run.fields.get(name)) for name, condition in named)]


def ordered(runs: Sequence[FoundRun], by: str, *, reverse: bool = False) -> list[FoundRun]:
    """The runs by a field: numbers first, then texts. Runs without it come last.

    Raises:
        UserError: an unknown field.
    """
    if not runs:
        return []
    name = resolve(by, known_fields(runs))
    having = [run for run in runs if run.fields.get(name) is not None]
    missing = [run for run in runs if run.fields.get(name) is None]
    return [*sorted(having, key=lambda run: _key(run.fields[name]), reverse=reverse), *missing]


def _key(value: Any) -> tuple[int, float, str]:
    if isinstance(value, bool | int | float):
        return 0, float(value), ""
    return 1, 0.0, value if isinstance(value, str) else json.dumps(value)
