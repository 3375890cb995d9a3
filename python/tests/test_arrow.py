"""Vectors and keys from Arrow, by the PyCapsule interface, and from tensors, by DLPack."""

import gc

import numpy as np
import pytest

import nearfield
from nearfield._arrow import array_of

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


class Exported:
    """An object of which nothing but the interface is known."""

    def __init__(self, column):
        kind = "__arrow_c_array__" if hasattr(column, "__arrow_c_array__") else "__arrow_c_stream__"
        setattr(type(self), kind, lambda self, requested=None: getattr(column, kind)(requested))


def exported(column):
    return type("Fresh", (Exported,), {})(column)


def fixed(rows):
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint8])
def test_lists_of_one_length_are_read_where_they_lie(dtype):
    rows = (np.arange(60).reshape(20, 3) % 50).astype(dtype)
    column = fixed(rows)
    found = array_of(exported(column))
    assert found.dtype == dtype and (found == rows).all()
    assert found.__array_interface__["data"][0] == column.values.buffers()[1].address
    assert not found.flags.writeable
    # A slice begins elsewhere.
    assert (array_of(exported(column[5:9])) == rows[5:9]).all()
    address = found.__array_interface__["data"][0]
    del column
    gc.collect()
    assert (found == rows).all() and found.__array_interface__["data"][0] == address


def test_lists_and_chunks(vectors):
    listed = pa.array(vectors[:50].tolist(), pa.list_(pa.float32()))
    assert (array_of(exported(listed)) == vectors[:50]).all()
    assert (array_of(exported(listed[10:20])) == vectors[10:20]).all()
    large = pa.array(vectors[:50].tolist(), pa.large_list(pa.float32()))
    assert (array_of(exported(large)) == vectors[:50]).all()
    chunked = pa.chunked_array([fixed(vectors[:20]), fixed(vectors[20:20]), fixed(vectors[20:50])])
    assert (array_of(exported(chunked)) == vectors[:50]).all()
    assert array_of(exported(pa.chunked_array([fixed(vectors[:0])]))).shape == (0, 32)


def test_an_index_takes_columns(vectors):
    index = nearfield.Index(32, "l2")
    table = pa.table({"id": pa.array(np.arange(100, 400), pa.uint64()), "vector": fixed(vectors[:300])})
    index.add(table["id"], table["vector"])
    index.add(pa.array([1, 2]), fixed(vectors[300:302]))
    assert len(index) == 302 and index.search(fixed(vectors[:5]), 1).keys[:, 0].tolist() == [100, 101, 102, 103, 104]
    assert index.search(pa.array(vectors[301]), 1).keys.tolist() == [2]
    assert index.search(vectors[3], 5, filter=pa.array([104, 105])).keys.tolist() in ([104, 105], [105, 104])


def test_columns_that_are_no_vectors():
    index = nearfield.Index(2, "l2")
    cases = [
        (pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), nearfield.InvalidInputError, "missing values"),
        (pa.array([[1.0, None]], pa.list_(pa.float32(), 2)), nearfield.InvalidInputError, "missing values"),
        (pa.array([[1.0], [1.0, 2.0]], pa.list_(pa.float32())), nearfield.InvalidInputError, "1 to 2 elements"),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)), nearfield.InvalidTypeError, "float64"),
        (pa.array(["a"]), nearfield.InvalidTypeError, "format 'u'"),
        (pa.array([[[1.0, 2.0]]], pa.list_(pa.list_(pa.float32(), 2), 1)), nearfield.InvalidTypeError, "lists of lists"),
        (pa.chunked_array([], pa.list_(pa.float32(), 2)), nearfield.InvalidInputError, "no rows"),
    ]
    for column, error, text in cases:
        with pytest.raises(error, match=text):
            index.add([1] * len(column), exported(column))
    with pytest.raises(nearfield.InvalidInputError, match="missing values"):
        index.add(pa.array([1, None]), np.zeros((2, 2), np.float32))
    assert len(index) == 0


def test_polars(vectors):
    pl = pytest.importorskip("polars", reason="polars is not installed")
    frame = pl.DataFrame({"id": np.arange(200), "vector": vectors[:200]})
    index = nearfield.Index(32, "l2")
    index.add(frame["id"], frame["vector"])
    assert index.search(vectors[:200], 1).keys[:, 0].tolist() == list(range(200))
