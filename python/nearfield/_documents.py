"""Documents of frameworks in collections: their payloads, and the attributes that filters select them by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

# Limits of the engine, below which a value is an attribute.
_MOST_FIELDS, _MOST_NAME, _MOST_TEXT, _MOST_TEXTS, _MOST_LISTED = 200, 200, 64 << 10, 1024, 4 << 10


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return {"@datetime": value.isoformat()}
    if isinstance(value, date):
        return {"@date": value.isoformat()}
    if isinstance(value, bytes):
        return {"@bytes": value.hex()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"metadata of type {type(value).__name__} cannot be stored; convert it to what JSON has")


def _decode(value: dict[str, Any]) -> Any:
    if len(value) == 1:
        (kind, text), *_ = value.items()
        if isinstance(text, str):
            if kind == "@datetime":
                return datetime.fromisoformat(text)
            if kind == "@date":
                return date.fromisoformat(text)
            if kind == "@bytes":
                return bytes.fromhex(text)
    return value


def pack(record: Mapping[str, Any], embedding: Sequence[float] | None = None) -> bytes:
    """Returns the payload of a document: JSON, and behind a zero byte the numbers of its embedding, if they are to come back as they are."""
    text = json.dumps(record, default=_encode, ensure_ascii=False).encode()
    if embedding is None:
        return text
    wide = np.asarray(embedding, np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float32)
    is_exact = np.array_equal(narrow.astype(np.float64), wide, equal_nan=True)
    return text + b"\0" + (b"4" + narrow.tobytes() if is_exact else b"8" + wide.tobytes())


def unpack(payload: bytes) -> tuple[dict[str, Any], list[float] | None]:
    """Returns the record and the embedding of a payload."""
    text, separator, numbers = payload.partition(b"\0")
    record: dict[str, Any] = json.loads(text, object_hook=_decode)
    if not separator:
        return record, None
    kind = np.float32 if numbers[:1] == b"4" else np.float64
    embedding: list[float] = np.frombuffer(numbers, kind, offset=1).astype(np.float64).tolist()
    return record, embedding


def leaves(meta: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Returns the values of nested dicts, by the names of their fields with dots between them; a dict is a value, too."""
    for name, value in meta.items():
        if isinstance(name, str) and "." not in name:
            yield f"{path}{name}", value
            if isinstance(value, Mapping) and value:
                yield from leaves(value, f"{path}{name}.")


def is_field(name: str) -> bool:
    """Returns whether metadata of this name can be an attribute: names with @ are this module's own."""
    return 0 < len(name.encode()) <= _MOST_NAME and "@" not in name and name.isprintable()


def scalar(value: Any) -> Any:
    """Returns the value as an attribute, or None if no attribute has such values."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, str):
        return value if len(value.encode(errors="surrogatepass")) <= _MOST_TEXT and is_text(value) else None
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
    if isinstance(value, (list, tuple)) and value and len(value) <= _MOST_TEXTS:
        if all(isinstance(text, str) and len(text.encode(errors="surrogatepass")) <= _MOST_LISTED and is_text(text) for text in value):
            return list(value)
    return None


def is_text(value: str) -> bool:
    """Returns whether the text is UTF-8: one of lone surrogates is not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def attributes(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metadata that can be attributes, of which a dict or a text selects documents. A datetime without a time zone counts as UTC."""
    found: dict[str, Any] = {}
    for name, value in leaves(meta):
        value = scalar(value)
        if value is not None and is_field(name) and len(found) < _MOST_FIELDS:
            found[name] = value
    return found


def rows(embeddings: Sequence[Sequence[float]]) -> npt.NDArray[np.float32]:
    """Returns embeddings as rows of `float32`."""
    return np.ascontiguousarray(np.asarray(embeddings, np.float32))
