"""Progress of long calls: a bar of tqdm if it is installed, lines on the standard error stream otherwise, or the caller's function."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Reporter(Protocol):
    """An object that shows progress."""

    def update(self, done: int, total: int) -> None: ...

    def close(self) -> None: ...


class _Bar:
    def __init__(self, tqdm: Any, total: int, unit: str) -> None:
        self._bar = tqdm(total=total or None, unit=f" {unit}", unit_scale=True)

    def update(self, done: int, total: int) -> None:
        if total and total != self._bar.total:
            self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    def __init__(self, unit: str) -> None:
        self._unit, self._next = unit, time.monotonic() + 1

    def update(self, done: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1
            print(f"{done} of {total} {self._unit}", file=sys.stderr)

    def close(self) -> None:
        pass


class _Called:
    def __init__(self, function: Callable[[int, int], object]) -> None:
        self._function, self._last = function, (-1, -1)

    def update(self, done: int, total: int) -> None:
        if (done, total) != self._last:
            self._last = (done, total)
            self._function(done, total)

    def close(self) -> None:
        pass


def reporter(progress: bool | Callable[[int, int], object] | None, total: int, unit: str) -> Reporter | None:
    """Returns an object that shows progress: for True a bar, for a callable one that calls it with the numbers done and in all."""
    if progress is None or progress is False:
        return None
    if progress is True:
        try:
            bars = importlib.import_module("tqdm.auto")
        except ImportError:
            return _Lines(unit)
        return _Bar(bars.tqdm, total, unit)
    if callable(progress):
        return _Called(progress)
    from ._errors import InvalidTypeError

    raise InvalidTypeError(f"progress is True, False, None or a callable, not {type(progress).__name__}")
