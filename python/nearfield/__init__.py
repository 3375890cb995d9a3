"""Vector search: indexes in memory, and collections in files that no crash can break.

`Index` finds the approximate nearest neighbours of a vector among millions, `Flat` the exact ones among some ten thousand, `Ivf` takes less
memory. A `Collection` keeps vectors, names, payloads and attributes in one file. Vectors are NumPy arrays of `float32`, `float16`, `int8` or
`uint8`: rows that follow one another in memory are read without a copy, a single vector and other layouts are copied, another dtype is refused. Keys are whole numbers
from 0 to 2**64 - 1. Distances are smaller for nearer vectors: squared under "l2", negated products under "ip", 1 - cos under "cosine", numbers
of bits under "hamming".

Searches, insertions and commits run without the interpreter's lock: do not change an array while a call reads it. A KeyboardInterrupt ends
searches, insertions and maintenance; a commit, a calibration and the saving of an index run to their ends first.
"""

from ._errors import (
    AlreadyExistsError,
    CancelledError,
    ClosedError,
    ConflictError,
    CorruptError,
    DeadlockError,
    DiskFullError,
    Error,
    ForkedError,
    IncompatibleError,
    InternalError,
    InvalidInputError,
    InvalidTypeError,
    LimitReachedError,
    LockedError,
    NotFoundError,
    NotReadyError,
    OutOfMemoryError,
    PermissionDeniedError,
    PoisonedError,
    ReadOnlyError,
    StorageError,
    TransactionError,
    UnsupportedError,
)
from ._nearfield import (
    Collection,
    Flat,
    Hits,
    Index,
    Ivf,
    KeySet,
    MemoryIndex,
    Searchable,
    Selection,
    Snapshot,
    Transaction,
    View,
    __version__,
)
from ._record import Record

__all__ = [
    "AlreadyExistsError",
    "CancelledError",
    "ClosedError",
    "Collection",
    "ConflictError",
    "CorruptError",
    "DeadlockError",
    "DiskFullError",
    "Error",
    "Flat",
    "ForkedError",
    "Hits",
    "IncompatibleError",
    "Index",
    "InternalError",
    "InvalidInputError",
    "InvalidTypeError",
    "Ivf",
    "KeySet",
    "LimitReachedError",
    "LockedError",
    "MemoryIndex",
    "NotFoundError",
    "NotReadyError",
    "OutOfMemoryError",
    "PermissionDeniedError",
    "PoisonedError",
    "ReadOnlyError",
    "Record",
    "Searchable",
    "Selection",
    "Snapshot",
    "StorageError",
    "Transaction",
    "TransactionError",
    "UnsupportedError",
    "View",
    "__version__",
]

# The classes are named by where users find them.
for _name in __all__:
    _object = globals()[_name]
    if isinstance(_object, type) and _object.__module__ in {"nearfield._errors", "nearfield._record"}:
        _object.__module__ = "nearfield"
del _name, _object
