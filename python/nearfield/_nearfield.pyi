"""The extension module. Import its classes from `nearfield`."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, final, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Self, disjoint_base

from ._record import Record

__all__ = [
    "Collection",
    "Flat",
    "Hits",
    "Index",
    "Ivf",
    "KeySet",
    "MemoryIndex",
    "Searchable",
    "Selection",
    "Snapshot",
    "Transaction",
    "View",
    "__version__",
]

__version__: str

class _Exporter(Protocol):
    """An object that lends its memory by DLPack, such as a tensor of PyTorch on the CPU."""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[Any, Any]: ...

class _ArrowArray(Protocol):
    """A column of Arrow, such as an array of pyarrow."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

class _ArrowStream(Protocol):
    """A column of Arrow in chunks, such as a series of polars."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

_Path: TypeAlias = str | os.PathLike[str]
_Array: TypeAlias = (
    npt.NDArray[np.float32] | npt.NDArray[np.float16] | npt.NDArray[np.int8] | npt.NDArray[np.uint8]
)
_Arrow: TypeAlias = _ArrowArray | _ArrowStream
_Vector: TypeAlias = _Array | Sequence[float] | _Exporter | _Arrow
_Vectors: TypeAlias = _Vector | Sequence[Sequence[float]]
_Keys: TypeAlias = npt.NDArray[np.integer[Any]] | Iterable[int] | _Arrow
_Name: TypeAlias = str | bytes
_Value: TypeAlias = int | float | bool | str | datetime | Sequence[str] | None
_Attributes: TypeAlias = Mapping[str, _Value]
_Predicate: TypeAlias = dict[str, Any] | str
_Filter: TypeAlias = _Keys | KeySet | Selection | Callable[[int], object] | _Predicate
_Progress: TypeAlias = bool | Callable[[int, int], object] | None
_Metric: TypeAlias = Literal["l2", "ip", "cosine", "hamming"]
_Element: TypeAlias = Literal["f32", "f16", "bf16", "i8", "u8", "bit"]
_Originals: TypeAlias = Literal["kept", "sq12", "sq8", "dropped"]

class _Curve(TypedDict):
    """A measured recall: `points` has (ef, recall, the recall that is certain), by ascending `ef`."""

    k: int
    queries: int
    len: int
    self_queries: bool
    points: list[tuple[int, float, float]]

@final
class KeySet:
    """A set of keys, made once for many searches: a filter, or keys to exclude."""

    def __new__(cls, keys: _Keys | None = None, /) -> Self: ...
    def __len__(self) -> int: ...
    def __contains__(self, key: object, /) -> bool: ...

@final
class Selection:
    """Keys for which a predicate was true at one commit: a filter of searches. Made by `matching`."""

    def keys(self) -> npt.NDArray[np.uint64]:
        """Returns the keys, ascending."""

    def __len__(self) -> int: ...
    def __contains__(self, key: object, /) -> bool: ...
    def __iter__(self) -> Iterator[int]: ...

@final
class Hits:
    """The answers of a search, the nearest first. It unpacks: `keys, distances = index.search(query)`.

    One query has arrays of one dimension, as long as it has answers. A batch has a row for each query, of `k` columns, but no more than the
    index has vectors; places behind the last answer of a row have the key 2**64 - 1 and the distance NaN.
    """

    @property
    def keys(self) -> npt.NDArray[np.uint64]:
        """The keys: shape (answers,), or (queries, columns)."""

    @property
    def distances(self) -> npt.NDArray[np.float32]:
        """The distances, in the unit of the metric (squared under "l2"); of the same shape."""

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """The number of answers of each query."""

    @property
    def is_complete(self) -> bool:
        """Whether the search ran to its end: False if a timeout ended it."""

    @property
    def distances_computed(self) -> int | None:
        """The distances that a single search computed; None for a batch."""

    @property
    def plan(self) -> str | None:
        """The plan of a single search; None for a batch."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: Literal[0, -2], /) -> npt.NDArray[np.uint64]: ...
    @overload
    def __getitem__(self, key: Literal[1, -1], /) -> npt.NDArray[np.float32]: ...
    @overload
    def __getitem__(self, key: int, /) -> npt.NDArray[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...

@disjoint_base
class Searchable:
    """The base of indexes, collections and snapshots: searches and lookups. Any number of threads may call each method."""

    def search(
        self,
        queries: _Vectors,
        k: int | None = ...,
        *,
        ef: int | None = None,
        recall: float | None = None,
        filter: _Filter | None = None,
        exclude: _Keys | KeySet | Selection | None = None,
        within: float | None = None,
        nprobe: int | None = None,
        timeout: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Finds the vectors nearest to one query, shape (dimension,), or to each of many, shape (queries, dimension).

        `k` (10): the answers of a query, at most; None, with `within`, for all in the radius.
        `ef` (64): candidates that a search of a graph keeps. More: better recall, slower.
        `recall`: the recall wanted, above 0 up to 1, in place of `ef`; call `calibrate` first.
        `filter`: keys that may be answers, as an array, a set, a `KeySet` or a `Selection`, or a function of a key, which is asked for many
        keys. Of a collection also a predicate: a dict such as `{"year": {"$gte": 2020}}`, or a text such as `"year >= 2020"`.
        `exclude`: keys that may not be answers.
        `within`: the largest distance of an answer, in the unit of the metric (squared under "l2").
        `nprobe`: lists that a search of an `Ivf` reads.
        `timeout`: seconds until the search ends with the answers found by then.
        `threads`: threads of a batch; by default one for each core.
        """

    def get(self, key: int) -> npt.NDArray[np.float32] | None:
        """Returns the vector of a key, shape (dimension,): of unit length under the cosine, rounded to the element type; bits are 0 and 1."""

    def keys(self) -> npt.NDArray[np.uint64]:
        """Returns the keys of all vectors, in no order. A forked child of the process that opened a file gets none."""

    def __iter__(self) -> Iterator[int]: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __contains__(self, key: object, /) -> bool: ...
    @property
    def dimension(self) -> int:
        """The number of components of a vector."""

    @property
    def metric(self) -> str:
        """The metric: "l2", "ip", "cosine" or "hamming"."""

    @property
    def element(self) -> str:
        """The type in which components are stored."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""

    def close(self) -> None:
        """Closes the object. Searches that run end as they would; later calls raise `ClosedError`. A collection makes a checkpoint."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> Literal[False]: ...
    def _repr_html_(self) -> str: ...

class MemoryIndex(Searchable):
    """The base of indexes in memory."""

    @overload
    def add(self, keys: int, vectors: _Vector, *, progress: _Progress = None, threads: int | None = None, deterministic: bool = False) -> None: ...
    @overload
    def add(
        self, keys: _Keys, vectors: _Vectors, *, progress: _Progress = None, threads: int | None = None, deterministic: bool = False
    ) -> None:
        """Inserts vectors, shape (n, dimension), under n new keys; or one vector under one key.

        Every vector is checked before the first is inserted. `progress`: True for a bar (of tqdm, if it is installed), or a function of the
        numbers inserted and in all. `deterministic`: the same index for any number of threads. A KeyboardInterrupt ends the call: vectors that
        were inserted by then stay.
        """

    @overload
    def upsert(self, keys: int, vectors: _Vector, *, progress: _Progress = None) -> None: ...
    @overload
    def upsert(self, keys: _Keys, vectors: _Vectors, *, progress: _Progress = None) -> None:
        """Sets the vectors of keys: inserts new keys, and replaces the vectors of the others. A key may be in the batch once only."""

    def remove(self, keys: int | _Keys) -> int:
        """Removes the vector of a key, or of each of many. Returns the number of removed vectors."""

    def save(self, path: _Path) -> None:
        """Writes the index to a file, which replaces the one at `path` once it is whole and on the disk."""

    def stats(self) -> dict[str, Any]:
        """Returns sizes, settings and counters; `bytes` is the memory by purpose."""

    def __reduce__(self) -> tuple[Any, ...]: ...

class Index(MemoryIndex):
    """An approximate index: a graph (HNSW) that threads search while others insert.

    `dimension`: components of a vector, 1 to 65,536.
    `quantization` ("auto"): codes that walks read: "none", "auto", "sq8", "sq4", "rabitq1", "rabitq2", "rabitq4", "pq4", or "pq32x8" for 32
    parts of 8 bits. `originals`: vectors beside codes, "kept", rounded to 12 or 8 bits a component, or "dropped".
    `m` (16): neighbours that a node chooses. `ef_construction` (200): candidates of an insertion.
    `element` ("f32"; "bit" under "hamming"): the type in which components are stored. Bits are packed, eight to a byte of a `uint8` array.
    """

    def __new__(
        cls,
        dimension: int,
        metric: _Metric = "cosine",
        *,
        quantization: str = "auto",
        m: int | None = None,
        ef_construction: int | None = None,
        element: _Element | None = None,
        originals: _Originals = "kept",
        alpha: float | None = None,
        seed: int | None = None,
    ) -> Self: ...
    @staticmethod
    def open(path: _Path) -> Index:
        """Maps an index from its file: nothing is read before a search touches it. Insertions stay in this process."""

    @staticmethod
    def load(path: _Path) -> Index:
        """Reads an index from a file into memory, and compares every byte with its checksum."""

    def calibrate(
        self,
        queries: _Vectors | None = None,
        *,
        sample: int | None = None,
        k: int | None = None,
        max_ef: int | None = None,
        threads: int | None = None,
    ) -> _Curve:
        """Measures the recall of each `ef`, so that searches may ask for a recall. Returns the curve.

        `queries`: some hundreds, of the kind that searches will use; by default `sample` (1,000) vectors of the index. `k` (10): the most answers
        that searches with a recall may ask for. `max_ef` (4,096): the greatest `ef` to try.
        """

    def maintain(self, seconds: float | None = None) -> str:
        """Completes the work that removals left, for about `seconds` (1), and returns memory to the system. Returns a report."""

    def check(self) -> tuple[bool, str]:
        """Reads the whole graph. Returns whether it is sound, and a report."""

class Flat(MemoryIndex):
    """An exact index: every search reads every vector. The right choice for some ten thousand vectors."""

    def __new__(cls, dimension: int, metric: _Metric = "cosine", *, element: _Element | None = None) -> Self: ...
    @staticmethod
    def open(path: _Path) -> Flat:
        """Maps an index from its file: nothing is read before a search touches it."""

    @staticmethod
    def load(path: _Path) -> Flat:
        """Reads an index from a file into memory, and compares every byte with its checksum."""

    def maintain(self, seconds: float | None = None) -> str:
        """Moves vectors together, for about `seconds` (1), and returns memory to the system. Returns a report."""

class Ivf(MemoryIndex):
    """An inverted-file index: vectors in lists by their nearest centroid, of which a search reads the nearest few.

    `lists`: their number; by default four times the square root of the number of vectors. `nprobe`: lists that a search reads if it sets none.
    `quantization`: "none", "auto", "pq4", "pq32x4", "rabitq1", "rabitq2" or "rabitq4".
    """

    def __new__(
        cls,
        dimension: int,
        metric: _Metric = "cosine",
        *,
        lists: int | None = None,
        nprobe: int | None = None,
        quantization: str = "none",
        element: _Element | None = None,
        originals: _Originals = "kept",
        seed: int | None = None,
    ) -> Self: ...
    @staticmethod
    def load(path: _Path) -> Ivf:
        """Reads an index from a file into memory, and compares every byte with its checksum."""

    def train(self) -> None:
        """Trains the index on the vectors that it has now."""

    @property
    def is_trained(self) -> bool:
        """Whether the index is trained; searches scan every vector until then."""

    def check(self) -> tuple[bool, str]:
        """Reads all lists. Returns whether they are sound, and a report."""

class View(Searchable):
    """The base of collections and snapshots: names, payloads, attributes and predicates."""

    def payload(self, key: int | _Name) -> bytes | None:
        """Returns the payload of a key or a name."""

    def attributes(self, key: int | _Name) -> dict[str, Any]:
        """Returns the attributes of a key or a name; an empty dict if it has none."""

    def key_of(self, name: _Name) -> int | None:
        """Returns the key of a name."""

    def name_of(self, key: int) -> str | bytes | None:
        """Returns the name of a key as str, or as bytes if it is no text."""

    def record(self, key: int | _Name) -> Record | None:
        """Returns the name, payload and attributes of a key or a name that has a vector."""

    def records(self, keys: _Keys) -> list[Record]:
        """Returns the records of keys, in their order, whether or not they have vectors."""

    def matching(self, predicate: _Predicate) -> Selection:
        """Returns the keys for which a predicate is true: a dict such as `{"year": {"$gte": 2020}}`, or a text such as `"year >= 2020"`."""

    def facet(self, field: str) -> list[tuple[Any, int]]:
        """Returns the values of a field, ascending within each kind, each with the number of its keys."""

    def calibrate(
        self,
        queries: _Vectors | None = None,
        *,
        sample: int | None = None,
        k: int | None = None,
        max_ef: int | None = None,
        threads: int | None = None,
    ) -> _Curve:
        """Measures the recall of each `ef`, as `Index.calibrate`."""

@final
class Snapshot(View):
    """A collection as one commit left it. Made by `Collection.snapshot`."""

    @property
    def number(self) -> int:
        """The number of the commit."""

@disjoint_base
class Collection(View):
    """Vectors, names, payloads and attributes in one file that no crash can break.

    `Collection(path, dimension=..., metric=...)` opens the file, or makes it; `Collection(path)` opens one that exists, with its settings.
    `read_only`: another process may be writing; each call reads the newest commit. `memory_limit`: bytes. `replay_limit`: seconds.
    """

    def __new__(
        cls,
        path: _Path,
        dimension: int | None = None,
        metric: _Metric | None = None,
        *,
        read_only: bool = False,
        quantization: str | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        element: _Element | None = None,
        originals: _Originals | None = None,
        seed: int | None = None,
        memory_limit: int | None = None,
        replay_limit: float | None = None,
    ) -> Self: ...
    @property
    def read_only(self) -> bool:
        """Whether the collection was opened for reading only."""

    def write(self, *, durability: Literal["immediate", "eventual", "none"] = "immediate") -> Transaction:
        """Returns a transaction, to be entered by `with`: it commits at the end of the block, and changes nothing after an exception.

        `durability`: "immediate", on the disk when the commit returns; "eventual", a power cut can lose it; "none", the end of the process can.
        """

    def snapshot(self) -> Snapshot:
        """Returns the collection as the newest commit left it: later commits do not change its answers."""

    def checkpoint(self, *, progress: _Progress = None) -> None:
        """Writes all chunks that changed, so that the next opening has nothing to apply."""

    def compact(self, *, progress: _Progress = None) -> int:
        """Moves pages to free space and cuts the file. Returns the bytes by which it became shorter."""

    def preload(self, *, progress: _Progress = None) -> None:
        """Reads the whole index into memory, and compares it with its checksums."""

    def backup(self, path: _Path, *, progress: _Progress = None) -> None:
        """Writes the newest commit to another file, while others write."""

    def check(self, *, progress: _Progress = None) -> tuple[bool, str]:
        """Reads everything. Returns whether it is sound, and a report."""

    def stats(self) -> dict[str, Any]:
        """Returns sizes and counters; `index` has those of the index."""

    @staticmethod
    def merge(
        inputs: Sequence[Collection | Snapshot | _Path],
        path: _Path,
        *,
        rule: Literal["refuse", "greatest_payload"] = "refuse",
        threads: int | None = None,
        progress: _Progress = None,
    ) -> int:
        """Makes one collection at `path` of several. Returns the number of its vectors.

        `rule`: for a key that several inputs have with other vectors: refuse, or take the entry with the greatest payload.
        """

@final
class Transaction:
    """Changes that are made together or not at all: `with collection.write() as tx: ...`."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        class_: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> Literal[False]: ...
    def commit(self) -> int:
        """Makes the changes safe, then visible. Returns the number of the commit. A commit that has begun is not interrupted."""

    def rollback(self) -> None:
        """Drops the changes."""

    @overload
    def upsert(  # type: ignore[overload-overlap]
        self, keys: int | _Name, vectors: _Vector, *, payload: bytes | None = None, attributes: _Attributes | None = None
    ) -> int: ...
    @overload
    def upsert(
        self,
        keys: _Keys | Sequence[_Name],
        vectors: _Vectors,
        *,
        payload: Sequence[bytes | None] | None = None,
        attributes: Sequence[_Attributes | None] | None = None,
    ) -> npt.NDArray[np.uint64]:
        """Sets the vector of a key or a name, and with it a payload and attributes, if given; or those of many, vectors of shape (n, dimension).

        A name is given a key, from 2**63 on, that it keeps. Returns the key, or the keys.
        """

    def remove(self, keys: int | _Name | _Keys | Sequence[_Name]) -> int:
        """Removes the vector of a key or a name, or of each of many, with payload and attributes. Returns the number of removed vectors."""

    def remove_where(self, predicate: _Predicate) -> int:
        """Removes the vectors of all keys for which a predicate is true. Returns their number."""

    def put_payload(self, key: int | _Name, payload: bytes) -> None:
        """Sets the payload of a key or a name that has a vector."""

    def remove_payload(self, key: int | _Name) -> bool:
        """Removes the payload of a key or a name. Returns whether it had one."""

    def payload(self, key: int | _Name) -> bytes | None:
        """Returns the payload of a key or a name, with the changes of this transaction."""

    def set_attributes(self, key: int | _Name, attributes: _Attributes) -> None:
        """Sets the attributes of a key or a name that has a vector, in place of those that it has."""

    def remove_attributes(self, key: int | _Name) -> bool:
        """Removes the attributes of a key or a name. Returns whether it had some."""

    def attributes(self, key: int | _Name) -> dict[str, Any]:
        """Returns the attributes of a key or a name, with the changes of this transaction."""

    def key_of(self, name: _Name) -> int | None:
        """Returns the key of a name, also one that this transaction gave."""

    def matching(self, predicate: _Predicate) -> Selection:
        """Returns the keys for which a predicate is true, with the changes of this transaction."""

    def __contains__(self, key: object, /) -> bool: ...
