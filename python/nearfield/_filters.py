"""Filters of frameworks as predicates of the engine.

A framework's comparison is true or false for each document; the engine's are unknown for another kind of value. So each comparison is translated
into two predicates, of which one is true if the framework's is, and the other if it is not. The list `@kinds` of a document tells the kinds of
its values: `number:year`, `bool:draft`, `text:name`, `texts:tags`. The time of a date is kept as the wall clock shows it (`date@wall`), and if it
has a time zone, also as it is (`date@time`). `@opaque` lists the fields whose values are no attributes: filters on them are for the framework.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from ._documents import is_field, leaves, scalar

Predicate = dict[str, Any]
_MOST_VALUES = 80
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([Tt ].*)?", re.DOTALL)


class Untranslatable(Exception):
    """A filter that the engine cannot evaluate."""


def wall(moment: datetime) -> datetime:
    """Returns the time that the clock shows, as if it were UTC."""
    return moment.replace(tzinfo=timezone.utc)


def date_of(value: object) -> datetime | None:
    """Returns the time of a datetime, or of a text that is a whole date in ISO form."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        # Python 3.10 does not read the Z.
        return datetime.fromisoformat(f"{value[:-1]}+00:00" if value[-1] in "zZ" else value)
    except ValueError:
        return None


def typed_attributes(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of metadata, by which filters select their document."""
    found: dict[str, Any] = {}
    kinds, opaque = ["@"], ["@"]
    for name, value in leaves(meta):
        if value is None:
            continue
        date = date_of(value)
        kept = scalar(value.isoformat() if isinstance(value, datetime) else value)
        kind = {bool: "bool", int: "number", float: "number", str: "text", list: "texts"}.get(type(kept), "other")
        if kept is None or not is_field(name) or len(kinds) > _MOST_VALUES:
            # A name may be longer than the text of a list may be; the list keeps its beginning.
            opaque.append(name[:200].encode(errors="replace").decode())
            continue
        found[name] = kept
        kinds.append(f"{kind}:{name}")
        if date is not None:
            found[f"{name}@wall"] = wall(date)
            if date.tzinfo is not None:
                found[f"{name}@time"] = date
    return {**found, "@kinds": kinds[:1000], "@opaque": opaque[:1000]}


def on(name: str, condition: Any) -> Predicate:
    """Returns the predicate of a condition on a field."""
    return {f"${name}" if name.startswith("$") else name: condition}


class Leaf:
    """A comparison: predicates of which one is true, and the other if it is not."""

    def __init__(self, yes: Predicate, no: Predicate) -> None:
        self.yes, self.no = yes, no

    @staticmethod
    def of(truth: bool) -> Leaf:
        """Returns the comparison that is true for all documents, or for none."""
        everything: Predicate = {"$and": []}
        nothing: Predicate = {"$or": []}
        return Leaf(everything, nothing) if truth else Leaf(nothing, everything)

    @staticmethod
    def known(kind: str, name: str, condition: Any) -> Leaf:
        """Returns a comparison of values of one kind."""
        yes = on(name, condition)
        return Leaf(yes, {"$or": [{"$not": {"@kinds": {"$has": f"{kind}:{name}"}}}, {"$not": yes}]})

    @staticmethod
    def time(name: str, condition: Any) -> Leaf:
        """Returns a comparison of a field that has times alone."""
        yes = on(name, condition)
        return Leaf(yes, {"$or": [on(name, {"$exists": False}), {"$not": yes}]})

    @staticmethod
    def missing(name: str) -> Leaf:
        """Returns the comparison that is true for documents without a value."""
        return Leaf(on(name, {"$exists": False}), on(name, {"$exists": True}))

    def __invert__(self) -> Leaf:
        return Leaf(self.no, self.yes)


def any_of(parts: Iterable[Leaf]) -> Leaf:
    """Returns the comparison that is true if one of these is."""
    parts = list(parts)
    return Leaf({"$or": [part.yes for part in parts]}, {"$and": [part.no for part in parts]})


def all_of(parts: Iterable[Leaf]) -> Leaf:
    """Returns the comparison that is true if all of these are."""
    return ~any_of(~part for part in parts)


def equal(name: str, value: Any) -> Leaf:
    """Returns the comparison of a field with a number, a bool or a text by `==`, as Python's: True is 1."""
    found = []
    if isinstance(value, bool) or (isinstance(value, (int, float)) and value in (0, 1)):
        found.append(Leaf.known("bool", name, {"$eq": bool(value)}))
    if isinstance(value, (bool, int, float)):
        number = int(value) if isinstance(value, bool) else scalar(value)
        if number is not None:
            found.append(Leaf.known("number", name, {"$eq": number}))
        elif value == value:
            raise Untranslatable
    elif isinstance(value, str):
        found.append(Leaf.known("text", name, {"$eq": value}))
    else:
        raise Untranslatable
    return any_of(found)


def ordered(name: str, operator: str, value: Any) -> Leaf:
    """Returns the comparison of a field with a number by `$gt`, `$gte`, `$lt` or `$lte`, as Python's: True is 1."""
    if not isinstance(value, (bool, int, float)):
        raise Untranslatable
    if value != value:
        return Leaf.of(False)
    number = scalar(int(value) if isinstance(value, bool) else value)
    if number is None:
        raise Untranslatable
    holds = {"$gt": number.__lt__, "$gte": number.__le__, "$lt": number.__gt__, "$lte": number.__ge__}[operator]
    flags = [Leaf.known("bool", name, {"$eq": flag}) for flag in (False, True) if holds(int(flag)) is True]
    return any_of([Leaf.known("number", name, {operator: number}), *flags])
