"""Columns of Arrow as NumPy arrays, by the PyCapsule interface: those of pyarrow, polars, DuckDB and others, of which none is needed.

Vectors are lists of one length, of `float32`, `float16`, `int8` or `uint8`; keys are whole numbers. A column of one chunk is read where it lies.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import InvalidInputError, InvalidTypeError

# Formats of Arrow, and the types of NumPy.
_NUMBERS = {
    "c": np.int8,
    "C": np.uint8,
    "s": np.int16,
    "S": np.uint16,
    "i": np.int32,
    "I": np.uint32,
    "l": np.int64,
    "L": np.uint64,
    "e": np.float16,
    "f": np.float32,
    "g": np.float64,
}
_OFFSETS = {"+l": np.int32, "+L": np.int64}


class _Schema(ctypes.Structure):
    pass


class _Column(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))),
    ("private_data", ctypes.c_void_p),
]
_Column._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Column))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Column))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Column))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _inside(capsule: Any, name: bytes, kind: Any) -> Any:
    """Returns the structure in a capsule, which the capsule releases when it is collected."""
    return kind.from_address(_pointer_of(capsule, name))


class _Owned:
    """A structure that a stream filled, released at the end."""

    def __init__(self, kind: Any) -> None:
        self.value = kind()

    def __del__(self) -> None:
        if self.value.release:
            self.value.release(ctypes.byref(self.value))


def _checked(code: int, stream: _Stream) -> None:
    if code != 0:
        text = stream.get_last_error(ctypes.byref(stream)) or b""
        raise InvalidInputError(f"the Arrow stream failed with code {code}: {text.decode(errors='replace')}")


def _chunks(stream: _Stream) -> Iterator[tuple[_Column, Any]]:
    """Yields the chunks of a stream, each with the object that owns its memory."""
    while True:
        chunk = _Owned(_Column)
        _checked(stream.get_next(ctypes.byref(stream), ctypes.byref(chunk.value)), stream)
        if not chunk.value.release:
            return
        yield chunk.value, chunk


def _buffer(column: _Column, at: int, dtype: Any, count: int, owner: Any) -> npt.NDArray[Any]:
    """Returns the first `count` numbers of a buffer. The array keeps the owner of the memory."""
    if count == 0:
        return np.empty(0, dtype)
    memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(column.buffers[at])
    memory._owner = owner
    numbers = np.frombuffer(memory, dtype)
    numbers.flags.writeable = False
    return numbers


def _read(schema: _Schema, column: _Column, owner: Any) -> npt.NDArray[Any]:
    """Returns a column of numbers, or of lists of numbers as a matrix."""
    form = schema.format.decode()
    has_nulls = column.null_count > 0 or (column.null_count < 0 and column.n_buffers > 0 and bool(column.buffers[0]))
    if has_nulls:
        raise InvalidInputError("the Arrow column has missing values; fill or drop them")
    end = column.offset + column.length
    if form in _NUMBERS:
        return _buffer(column, 1, _NUMBERS[form], end, owner)[column.offset :]
    if form.startswith("+w:"):
        width = int(form[3:])
        inner = _read(schema.children[0].contents, column.children[0].contents, owner)
        return _matrix(inner[column.offset * width : end * width], column.length, width)
    if form in _OFFSETS:
        offsets = _buffer(column, 1, _OFFSETS[form], end + 1, owner)[column.offset :]
        widths = np.unique(np.diff(offsets))
        if len(widths) > 1:
            raise InvalidInputError(f"the lists of the Arrow column have {widths[0]} to {widths[-1]} elements; allowed: one length")
        inner = _read(schema.children[0].contents, column.children[0].contents, owner)
        width = int(widths[0]) if len(widths) else 0
        return _matrix(inner[offsets[0] : offsets[-1]], column.length, width)
    raise InvalidTypeError(f"the Arrow column has the format {form!r}; allowed: lists of numbers for vectors, whole numbers for keys")


def _matrix(inner: npt.NDArray[Any], rows: int, width: int) -> npt.NDArray[Any]:
    if inner.ndim != 1:
        raise InvalidTypeError("the Arrow column has lists of lists; allowed: lists of numbers")
    return inner.reshape(rows, width)


def array_of(exporter: Any) -> npt.NDArray[Any]:
    """Returns a column of an object with `__arrow_c_array__` or `__arrow_c_stream__` as an array."""
    export: Callable[[], Any] | None = getattr(exporter, "__arrow_c_array__", None)
    if export is not None:
        schema, column = export()
        return _read(_inside(schema, b"arrow_schema", _Schema), _inside(column, b"arrow_array", _Column), column)
    capsule = exporter.__arrow_c_stream__()
    stream, schema = _inside(capsule, b"arrow_array_stream", _Stream), _Owned(_Schema)
    _checked(stream.get_schema(ctypes.byref(stream), ctypes.byref(schema.value)), stream)
    chunks = [_read(schema.value, chunk, owner) for chunk, owner in _chunks(stream)]
    chunks = [chunk for chunk in chunks if len(chunk)] or chunks[:1]
    if not chunks:
        raise InvalidInputError("the Arrow stream has no rows")
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
