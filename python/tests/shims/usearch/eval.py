"""Vectors and measurements that usearch's tests ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .index import DTYPES, Index


def random_vectors(count: int, ndim: int = 2, metric: Any = None, dtype: Any = np.float32, index: Index | None = None) -> np.ndarray:
    """Returns vectors of unit length."""
    rows = np.random.standard_normal((count, ndim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(DTYPES.get(dtype, dtype))


@dataclass
class SearchStats:
    index_size: int
    count_queries: int
    count_matches: int
    visited_members: int
    computed_distances: int


def self_recall(index: Index, sample: float | int = 1.0, keys: Any = None, vectors: Any = None, **options: Any) -> SearchStats:
    """Searches for vectors of the index, and counts those that find themselves."""
    count = options.pop("count", 10)
    asked = np.array(index.keys if keys is None else keys)
    if sample != 1.0:
        wanted = int(len(asked) * sample) if isinstance(sample, float) else sample
        asked = asked[: max(wanted, 1)]
    found = [index.search(index.get(int(key)), count, **options) for key in asked]
    matched = sum(int(key) in matches.keys for key, matches in zip(asked, found))
    computed = sum(matches.computed_distances for matches in found)
    return SearchStats(len(index), len(asked), matched, computed, computed)
