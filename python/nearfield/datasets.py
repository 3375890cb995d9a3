"""An index of a column of a Hugging Face dataset: `pip install nearfield[datasets]`.

    index = NearfieldIndex.of_column(dataset, "embedding")
    attach(dataset, "embedding", index)
    scores, examples = dataset.get_nearest_examples("embedding", query, k=5)

Keys are the positions of the rows. Scores are distances, less for nearer rows: squared under "l2", 1 - cos under "cosine".
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from datasets import Dataset  # type: ignore[import-untyped]
from datasets.search import BaseIndex, BatchedSearchResults, SearchResults  # type: ignore[import-untyped]

from . import Index


class NearfieldIndex(BaseIndex):  # type: ignore[misc]
    """An index of nearfield as datasets takes it."""

    def __init__(self, index: Index) -> None:
        self.index = index

    @classmethod
    def of_column(cls, dataset: Dataset, column: str, *, metric: str = "cosine", batch_size: int = 10_000, **settings: Any) -> NearfieldIndex:
        """Returns the index of a column of vectors. `metric` and `settings` are those of `nearfield.Index`."""
        index: Index | None = None
        for first in range(0, len(dataset), batch_size):
            vectors = np.asarray(dataset[first : first + batch_size][column], np.float32)
            if index is None:
                index = Index(vectors.shape[1], metric, **settings)  # type: ignore[arg-type]
            index.add(np.arange(first, first + len(vectors)), vectors)
        if index is None:
            raise ValueError("the dataset has no rows, so the dimension of its vectors is unknown")
        return cls(index)

    def search(self, query: npt.ArrayLike, k: int = 10, **kwargs: Any) -> SearchResults:
        """Returns the distances and positions of the rows nearest to a query. `kwargs` are those of `nearfield.Index.search`."""
        hits = self.index.search(np.asarray(query, np.float32).reshape(-1), k, **kwargs)
        return SearchResults(hits.distances.tolist(), hits.keys.astype(np.int64).tolist())

    def search_batch(self, queries: npt.ArrayLike, k: int = 10, **kwargs: Any) -> BatchedSearchResults:
        """Returns the distances and positions of the rows nearest to each query; a query may have fewer than `k`."""
        hits = self.index.search(np.atleast_2d(np.asarray(queries, np.float32)), k, **kwargs)
        rows = [(distances[:count], keys[:count]) for distances, keys, count in zip(hits.distances, hits.keys, hits.counts)]
        return BatchedSearchResults([distances.tolist() for distances, _ in rows], [keys.astype(np.int64).tolist() for _, keys in rows])

    def save(self, file: str | PurePath, storage_options: dict[str, Any] | None = None) -> None:
        """Writes the index to a file of this machine."""
        self.index.save(file)

    @classmethod
    def load(cls, file: str | PurePath, storage_options: dict[str, Any] | None = None) -> NearfieldIndex:
        """Maps an index from its file."""
        return cls(Index.open(file))


def attach(dataset: Dataset, name: str, index: NearfieldIndex) -> None:
    """Makes an index one of the dataset's own, which `get_nearest_examples` and its relatives find under this name."""
    dataset._indexes[name] = index
