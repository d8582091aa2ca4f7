"""The fields of a request's JSON object, checked one by one."""

from __future__ import annotations

import json
import math
from typing import Any

from .limits import Refused


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parse(body: bytes, known: frozenset[str]) -> dict[str, Any]:
    """The object in a body (an empty body is an empty object); refuses all else, and unknown fields."""
    if not body:
        return {}
    try:
        data = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused(400, f"the body is not UTF-8 (byte {error.start})", "send JSON in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}", "send one JSON object") from error
    if not isinstance(data, dict):
        raise _wrong(f"the body is {_kind(data)}", "send one JSON object")
    if unknown := sorted(data.keys() - known):
        raise _wrong(
            f"the field {unknown[0][:50]!a} is not known", f"wanted only {', '.join(sorted(known))}"
        )
    return data


def text(data: dict[str, Any], name: str, most: int, default: str | None = None) -> str:
    """A field that is a text of at most so many characters."""
    value = data.get(name, default)
    if not isinstance(value, str):
        raise _wrong(f"{name} is {_kind(value)}", f'give a text, as in {{"{name}": "hello"}}')
    return _short(value, name, most)


def texts(data: dict[str, Any], name: str, most: int, longest: int) -> list[str]:
    """A field that is a list of texts."""
    value = data.get(name)
    if not isinstance(value, list):
        raise _wrong(f"{name} is {_kind(value)}", f'give a list of texts, as in {{"{name}": ["hello"]}}')
    if len(value) > most:
        raise _wrong(f"{name} has {len(value)} texts", f"send at most {most} in a request")
    for i, item in enumerate(value):
        if not isinstance(item, str):
            raise _wrong(f"{name}[{i}] is {_kind(item)}", "give a list of texts")
        _short(item, f"{name}[{i}]", longest)
    return value


def whole(data: dict[str, Any], name: str, least: int, most: int, default: Any) -> Any:
    """A field that is a whole number within bounds; the default if it is missing."""
    if name not in data:
        return default
    value = data[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON knows one kind of number
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(f"{name} is {_kind(value)}", f"give a whole number from {least} to {most}")
    return value


def number(data: dict[str, Any], name: str, least: float, most: float, default: float) -> float:
    """A field that is a number within bounds; the default if it is missing."""
    value = data.get(name, default)
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not math.isfinite(value) or not least <= value <= most:
        raise _wrong(f"{name} is {_kind(value)}", f"give a number from {least:g} to {most:g}")
    return float(value)


def flag(data: dict[str, Any], name: str) -> bool:
    """A field that is true or false; false if it is missing."""
    value = data.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(f"{name} is {_kind(value)}", "give true or false")
    return value


def _short(value: str, name: str, most: int) -> str:
    if len(value) > most:
        raise _wrong(f"{name} has {len(value)} characters", f"send at most {most} at once")
    return value


def _wrong(error: str, do: str) -> Refused:
    return Refused(422, error, do)


def _kind(value: object) -> str:
    """What a value is, short enough for a message whatever the client sent."""
    if value is None:
        return "missing or null"
    if isinstance(value, (bool, int, float)):
        if isinstance(value, int) and abs(value) >= 1 << 64:
            return "a huge number"
        return json.dumps(value)
    return {str: "a text", list: "a list", dict: "an object"}[type(value)]
