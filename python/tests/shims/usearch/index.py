"""`usearch.index`, as far as nearfield has what it does: one vector a key, graphs of `f32`, `f16`, `bf16` and scalar codes of 8 bits."""

from __future__ import annotations

import enum
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import nearfield
import numpy as np

DEFAULT_CONNECTIVITY, DEFAULT_EXPANSION_ADD, DEFAULT_EXPANSION_SEARCH = 16, 128, 64


class MetricKind(enum.Enum):
    Cos = "cosine"
    L2sq = "l2"
    IP = "ip"
    Hamming = "hamming"
    Tanimoto = "tanimoto"
    Sorensen = "sorensen"


ScalarKind = enum.Enum("ScalarKind", "F64 F32 BF16 F16 E5M2 E4M3 E3M2 E2M3 I8 U8 B1")
DTYPES = {ScalarKind.F64: np.float64, ScalarKind.F32: np.float32, ScalarKind.F16: np.float16}

# Floats that usearch rounds to `i8` are vectors rounded to 8 bits here.
SETTINGS = {
    ScalarKind.F32: {"element": "f32"},
    ScalarKind.F16: {"element": "f16"},
    ScalarKind.BF16: {"element": "bf16"},
    ScalarKind.I8: {"quantization": "sq8", "originals": "sq8"},
}
NAMES = {"cos": MetricKind.Cos, "l2sq": MetricKind.L2sq, "ip": MetricKind.IP}


class Match(NamedTuple):
    key: int
    distance: float


class Matches:
    def __init__(self, keys: np.ndarray, distances: np.ndarray, computed: int = 0) -> None:
        self.keys, self.distances = keys, distances
        self.visited_members = self.computed_distances = computed

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: int) -> Match:
        return Match(int(self.keys[at]), float(self.distances[at]))

    def to_list(self) -> list[tuple[int, float]]:
        return [tuple(self[at]) for at in range(len(self))]


class BatchMatches:
    def __init__(self, keys: np.ndarray, distances: np.ndarray, counts: np.ndarray) -> None:
        self.keys, self.distances, self.counts = keys, distances, counts

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: int) -> Matches:
        count = self.counts[at]
        return Matches(self.keys[at, :count], self.distances[at, :count])


class LevelStats(NamedTuple):
    nodes: int


class Clustering:
    """Named for the import alone: nearfield has no clusters."""


class Index:
    def __init__(
        self,
        *,
        ndim: int,
        metric: Any = MetricKind.Cos,
        dtype: Any = ScalarKind.F32,
        connectivity: int = DEFAULT_CONNECTIVITY,
        expansion_add: int = DEFAULT_EXPANSION_ADD,
        expansion_search: int = DEFAULT_EXPANSION_SEARCH,
        multi: bool = False,
    ) -> None:
        if multi:
            raise NotImplementedError("a key has one vector")
        self.ndim, self.metric = ndim, NAMES.get(metric, metric)
        self.dtype = {np.float32: ScalarKind.F32, np.float16: ScalarKind.F16, None: ScalarKind.F32}.get(dtype, dtype)
        self.connectivity, self.expansion_add, self.expansion_search = connectivity, expansion_add, expansion_search
        self.clear()

    def clear(self) -> None:
        settings = SETTINGS[self.dtype]
        self._index = nearfield.Index(self.ndim, self.metric.value, m=self.connectivity, ef_construction=self.expansion_add, **settings)

    reset = clear

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, key: int) -> bool:
        return int(key) in self._index

    def contains(self, keys: Any) -> Any:
        return key_by_key(keys, self.__contains__)

    def count(self, keys: Any) -> Any:
        return key_by_key(keys, lambda key: int(key in self))

    @property
    def keys(self) -> np.ndarray:
        return self._index.keys()

    @property
    def vectors(self) -> np.ndarray:
        return np.stack([self._index.get(key) for key in self.keys.tolist()])

    def add(self, keys: Any, vectors: Any, *, copy: bool = True, threads: int = 0, **_: Any) -> np.ndarray:
        rows = np.atleast_2d(vectors)
        if rows.strides[1] != rows.itemsize and rows.shape[1] > 1:
            raise ValueError("the components of a vector follow one another in memory")
        keys = np.atleast_1d(np.asarray(keys))
        self._index.add(keys, as_float(rows), threads=threads or None)
        return keys

    def get(self, keys: Any, dtype: Any = None) -> Any:
        wanted = DTYPES.get(dtype, dtype) or np.float32

        def found(key: int) -> Any:
            vector = self._index.get(key)
            return None if vector is None else vector.astype(wanted)

        return found(int(keys)) if np.ndim(keys) == 0 else tuple(found(int(key)) for key in keys)

    __getitem__ = get

    def remove(self, keys: Any, **_: Any) -> int:
        return self._index.remove(int(keys) if np.ndim(keys) == 0 else np.asarray(keys))

    __delitem__ = remove

    def rename(self, before: Any, after: Any) -> np.ndarray:
        pairs = zip(np.atleast_1d(before).tolist(), np.atleast_1d(after).tolist())
        moved = [(old, new, self._index.get(old)) for old, new in pairs if old in self]
        for old, _, _ in moved:
            self._index.remove(old)
        for _, new, vector in moved:
            self._index.add(new, vector)
        return np.array([new for _, new, _ in moved], np.uint64)

    def search(self, vectors: Any, count: int = 10, *, threads: int = 0, exact: bool = False, **_: Any) -> Any:
        rows = as_float(vectors)
        if rows.ndim == 1 or len(rows) == 1:
            hits = self._index.search(rows.reshape(-1), count, ef=max(self.expansion_search, count))
            return Matches(hits.keys, hits.distances, hits.distances_computed)
        hits = self._index.search(rows, count, ef=max(self.expansion_search, count), threads=threads or None)
        return BatchMatches(hits.keys, hits.distances, hits.counts)

    @property
    def levels_stats(self) -> list[LevelStats]:
        return [LevelStats(nodes) for nodes in self._index.stats()["levels"]]

    def level_stats(self, level: int) -> LevelStats:
        return self.levels_stats[level]

    @property
    def max_level(self) -> int:
        return len(self.levels_stats) - 1

    @property
    def stats(self) -> LevelStats:
        return LevelStats(sum(level.nodes for level in self.levels_stats))

    def save(self, path: Any = None) -> Any:
        if path is not None:
            self._index.save(path)
            return None
        return bytearray(on_disk(self._index.save))

    def load(self, source: Any) -> None:
        self._index = read(source, nearfield.Index.load)

    def view(self, source: Any) -> None:
        self._index = read(source, nearfield.Index.open)

    def copy(self) -> Index:
        other = Index(**settings_of(self))
        other.load(self.save())
        return other

    @staticmethod
    def metadata(source: Any) -> dict[str, Any]:
        index = read(source, nearfield.Index.load)
        return {"dimensions": index.dimension, "kind_metric": MetricKind(index.metric), "count_present": len(index)}

    @staticmethod
    def restore(source: Any, view: bool = False) -> Index:
        index = read(source, nearfield.Index.load)
        kinds = {settings.get("element"): kind for kind, settings in SETTINGS.items()}
        restored = Index(ndim=index.dimension, metric=MetricKind(index.metric), dtype=kinds[index.element])
        restored._index = index
        return restored


def settings_of(index: Index) -> dict[str, Any]:
    names = ("ndim", "metric", "dtype", "connectivity", "expansion_add", "expansion_search")
    return {name: getattr(index, name) for name in names}


def key_by_key(keys: Any, function: Any) -> Any:
    return function(int(keys)) if np.ndim(keys) == 0 else np.array([function(int(key)) for key in keys])


def as_float(vectors: Any) -> np.ndarray:
    rows = np.asarray(vectors)
    return np.ascontiguousarray(rows, rows.dtype if rows.dtype == np.float16 else np.float32)


def on_disk(save: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "index.nf")
        return (Path(folder) / "index.nf").read_bytes()


def read(source: Any, load: Any) -> Any:
    if isinstance(source, (str, Path)):
        return load(source)
    if not isinstance(source, (bytes, bytearray, memoryview, np.ndarray)):
        raise TypeError(f"an index is read from a path or from bytes, not {type(source).__name__}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "index.nf").write_bytes(bytes(source))
        return load(Path(folder) / "index.nf")
