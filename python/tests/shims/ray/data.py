"""Data sets of the stand-in: columns of NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


class Dataset:
    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.columns = columns
        self.context = SimpleNamespace(execution_options=SimpleNamespace())

    def materialize(self) -> Dataset:
        return self

    def count(self) -> int:
        return len(next(iter(self.columns.values())))

    def _cut(self, first: int, end: int) -> Dataset:
        return Dataset({name: column[first:end] for name, column in self.columns.items()})

    def split_at_indices(self, indices: list[int]) -> list[Dataset]:
        return [self._cut(first, end) for first, end in zip([0, *indices], [*indices, self.count()])]

    def iter_batches(self, batch_size: int, batch_format: str = "numpy") -> Iterator[dict[str, np.ndarray]]:
        for first in range(0, self.count(), batch_size):
            yield self._cut(first, first + batch_size).columns

    def map_batches(self, actor: Any, *, fn_constructor_args: tuple[Any, ...], batch_size: int, **_: Any) -> Dataset:
        made = actor(*fn_constructor_args)
        batches = [made(batch) for batch in self.iter_batches(batch_size)]
        return Dataset({name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]})

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        for at in range(self.count()):
            yield {name: column[at] for name, column in self.columns.items()}


class ActorPoolStrategy:
    def __init__(self, size: int) -> None:
        self.size = size


def from_items(items: list[dict[str, Any]], override_num_blocks: int | None = None) -> Dataset:
    return Dataset({name: np.array([item[name] for item in items]) for name in items[0]})
