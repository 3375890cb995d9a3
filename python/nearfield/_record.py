"""The record of a key."""

from __future__ import annotations

from typing import Any, NamedTuple


class Record(NamedTuple):
    """What a collection has of a key beside its vector."""

    key: int
    name: str | bytes | None
    payload: bytes | None
    attributes: dict[str, Any]
