"""The interface of hnswlib over nearfield, so that hnswlib's own tests run. A program that moves is better off with nearfield's: `docs/migration.md`."""

from __future__ import annotations

import pickle
from typing import Any

import nearfield
import numpy as np

METRICS = {"l2": "l2", "ip": "ip", "cosine": "cosine"}


def _rows(data: Any) -> np.ndarray:
    return np.atleast_2d(np.ascontiguousarray(data, np.float32))


class _Base:
    def __init__(self, space: str, dim: int) -> None:
        self.space, self.dim = space, dim
        self.index: Any = None
        self.num_threads, self.max_elements = 0, 0

    def set_num_threads(self, threads: int) -> None:
        self.num_threads = threads

    def _find(self, data: Any, k: int, threads: int, filter: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        threads = threads if threads > 0 else self.num_threads
        hits = self.index.search(_rows(data), k, filter=filter, threads=threads or None, **options)
        if (hits.counts < k).any():
            raise RuntimeError(f"fewer than {k} elements were found; a greater ef finds more")
        # The products of hnswlib are 1 less the product.
        return hits.keys, hits.distances + (1 if self.space == "ip" else 0)

    def save_index(self, path: str) -> None:
        with open(path, "wb") as file:
            pickle.dump(self.__dict__, file)

    def load_index(self, path: str, max_elements: int = 0, allow_replace_deleted: bool = False) -> None:
        with open(path, "rb") as file:
            self.__dict__.update(pickle.load(file))
        self.max_elements = max(self.max_elements, max_elements)


class BFIndex(_Base):
    def init_index(self, max_elements: int) -> None:
        self.max_elements = max_elements
        self.index = nearfield.Flat(self.dim, METRICS[self.space])

    def add_items(self, data: Any, ids: Any = None) -> None:
        rows = _rows(data)
        first = len(self.index)
        self.index.upsert(np.arange(first, first + len(rows)) if ids is None else np.ravel(ids), rows)

    def delete_vector(self, label: int) -> None:
        self.index.remove(int(label))

    def knn_query(self, data: Any, k: int = 1, num_threads: int = -1, filter: Any = None) -> tuple[np.ndarray, np.ndarray]:
        return self._find(data, k, num_threads, filter)


class Index(_Base):
    def __init__(self, space: str, dim: int) -> None:
        super().__init__(space, dim)
        self.ef, self.M, self.ef_construction = 10, 16, 200
        # Vectors that were removed, for `unmark_deleted`; nearfield forgets them.
        self.deleted: dict[int, np.ndarray] = {}

    def init_index(
        self, max_elements: int, M: int = 16, ef_construction: int = 200, random_seed: int = 100, allow_replace_deleted: bool = False
    ) -> None:
        self.max_elements, self.M, self.ef_construction = max_elements, M, ef_construction
        self.index = nearfield.Index(self.dim, METRICS[self.space], m=M, ef_construction=ef_construction, seed=random_seed)

    def set_ef(self, ef: int) -> None:
        self.ef = ef

    @property
    def element_count(self) -> int:
        return len(self.index) + len(self.deleted)

    def get_current_count(self) -> int:
        return self.element_count

    def get_max_elements(self) -> int:
        return self.max_elements

    def resize_index(self, max_elements: int) -> None:
        if max_elements < self.element_count:
            raise RuntimeError("the index has more elements")
        self.max_elements = max_elements

    def get_ids_list(self) -> list[int]:
        return [*self.index.keys().tolist(), *self.deleted]

    def add_items(self, data: Any, ids: Any = None, num_threads: int = -1, replace_deleted: bool = False) -> None:
        rows = _rows(data)
        first = self.element_count
        keys = np.arange(first, first + len(rows)) if ids is None else np.ravel(ids).astype(np.uint64)
        for key in keys.tolist():
            self.deleted.pop(key, None)
        if replace_deleted:
            for key in list(self.deleted)[: len(keys)]:
                del self.deleted[key]
        new = sum(key not in self.index for key in keys.tolist())
        if self.element_count + new > self.max_elements:
            raise RuntimeError(f"{self.element_count + new} elements exceed max_elements ({self.max_elements})")
        self.index.upsert(keys, rows)

    def get_items(self, ids: Any = None, return_type: str = "numpy") -> Any:
        if ids is not None and np.ndim(ids) == 0:
            raise ValueError("ids are a list or an array")
        found = [self.index.get(int(key)) for key in (self.get_ids_list() if ids is None else np.ravel(ids))]
        if any(vector is None for vector in found):
            raise RuntimeError("a label was not found")
        return np.stack(found) if return_type == "numpy" else [vector.tolist() for vector in found]

    def mark_deleted(self, label: int) -> None:
        vector = self.index.get(int(label))
        if vector is None:
            raise RuntimeError(f"label {label} was not found")
        self.deleted[int(label)] = vector
        self.index.remove(int(label))

    def unmark_deleted(self, label: int) -> None:
        self.index.add(int(label), self.deleted.pop(int(label)))

    def knn_query(self, data: Any, k: int = 1, num_threads: int = -1, filter: Any = None) -> tuple[np.ndarray, np.ndarray]:
        return self._find(data, k, num_threads, filter, ef=max(self.ef, k))
