"""Pickling of indexes: the bytes of the file that `save` writes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def reduce(index: Any) -> tuple[Callable[[Any, bytes], Any], tuple[Any, bytes]]:
    """Returns a function and arguments that make an equal index. A measured recall is not part of it."""
    with tempfile.TemporaryDirectory(prefix="nearfield-") as folder:
        path = Path(folder) / "index.nf"
        index.save(path)
        return restore, (type(index), path.read_bytes())


def restore(kind: Any, data: bytes) -> Any:
    """Returns the index of the bytes of a file."""
    with tempfile.TemporaryDirectory(prefix="nearfield-") as folder:
        path = Path(folder) / "index.nf"
        path.write_bytes(data)
        return kind.load(path)
