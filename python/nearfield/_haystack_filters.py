"""Haystack's filters as predicates of the engine: they compare numbers with bools, and texts with times if they are dates."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from typing import Any

from haystack.dataclasses import Document
from haystack.errors import FilterError
from haystack.utils.filters import _parse_date

from ._documents import is_field
from ._filters import Leaf, Predicate, Untranslatable, all_of, any_of, date_of, equal, ordered, wall

ORDERS = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_FIELDS = frozenset(field.name for field in fields(Document))


def _compare_dates(name: str, operator: str, date: datetime) -> Leaf:
    """Returns a comparison of times: one without a time zone is compared with the wall clock of the other."""
    by_wall = Leaf.time(f"{name}@wall", {operator: wall(date)})
    if date.tzinfo is None:
        return by_wall
    return any_of([Leaf.time(f"{name}@time", {operator: date}), all_of([Leaf.missing(f"{name}@time"), by_wall])])


def _equal(name: str, value: Any) -> Leaf:
    if value is None:
        return Leaf.missing(name)
    found = [] if isinstance(value, datetime) else [equal(name, value)]
    date = date_of(value)
    if date is not None:
        found.append(_compare_dates(name, "$eq", date))
    return any_of(found)


def _ordered(name: str, operator: str, value: Any) -> Leaf:
    if value is None:
        return Leaf.of(False)
    if isinstance(value, list):
        raise FilterError(f"Filter value can't be of type {type(value)} using operators '>', '>=', '<', '<='")
    date = date_of(value)
    if date is not None:
        return _compare_dates(name, ORDERS[operator], date)
    if isinstance(value, str):
        # A date in another form, or no date: Haystack decides.
        _parse_date(value)
    return ordered(name, ORDERS[operator], value)


def _comparison(condition: Mapping[str, Any], opaque: frozenset[str]) -> Leaf:
    for key in ("operator", "value"):
        if key not in condition:
            raise FilterError(f"'{key}' key missing in {condition}")
    field, operator, value = condition["field"], condition["operator"], condition["value"]
    if operator not in ORDERS and operator not in {"==", "!=", "in", "not in"}:
        raise FilterError(f"Unknown comparison operator '{operator}'. Valid operators are: ==, !=, >, >=, <, <=, in, not in")
    if operator in {"in", "not in"} and not isinstance(value, list):
        raise FilterError(f"Filter value must be a `list` when using operator '{operator}', received type '{type(value)}'")
    if operator in ORDERS:
        # A wrong value is refused, whether or not the engine can evaluate the filter.
        with suppress(Untranslatable):
            _ordered("x", operator, value)
    root, _, name = field.partition(".") if "." in field else ("meta", "", field)
    if root != "meta" or (name == field and name in _FIELDS) or not is_field(name) or name[:200] in opaque:
        raise Untranslatable
    if operator in ORDERS:
        return _ordered(name, operator, value)
    if operator in {"==", "!="}:
        leaf = _equal(name, value)
    else:
        leaf = any_of(_equal(name, each) for each in value)
    return ~leaf if operator in {"!=", "not in"} else leaf


def _translated(condition: Any, opaque: frozenset[str]) -> Leaf:
    if not isinstance(condition, Mapping):
        raise FilterError(f"a filter is a dict, not {type(condition).__name__}")
    if "field" in condition:
        return _comparison(condition, opaque)
    for key in ("operator", "conditions"):
        if key not in condition:
            raise FilterError(f"'{key}' key missing in {condition}")
    operator = condition["operator"]
    if operator not in {"AND", "OR", "NOT"}:
        raise FilterError(f"Unknown logical operator '{operator}'. Valid operators are: ['AND', 'NOT', 'OR']")
    # Every condition is looked at, so that a malformed one is refused.
    parts, untranslatable = [], None
    for part in condition["conditions"]:
        try:
            parts.append(_translated(part, opaque))
        except Untranslatable as error:
            untranslatable = error
    if untranslatable is not None:
        raise untranslatable
    if operator == "OR":
        return any_of(parts)
    return all_of(parts) if operator == "AND" else ~all_of(parts)


def translate(filters: Mapping[str, Any], opaque: frozenset[str]) -> Predicate:
    """Returns the predicate that is true for the documents that Haystack's filter accepts; `opaque` are the fields without attributes.

    Raises FilterError for a malformed filter, and Untranslatable for one that only Haystack can evaluate.
    """
    return _translated(filters, opaque).yes
