"""Arguments that no call can take, objects that are closed, signals, forks: exceptions of `nearfield`, and never a crash."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import nearfield
from nearfield import Collection, Flat, Index, Ivf, KeySet


@pytest.fixture
def index(vectors):
    index = Index(32, "l2")
    index.add(np.arange(1000), vectors[:1000])
    return index


ONE = np.ones(32, np.float32)


@pytest.mark.parametrize(
    "queries",
    [
        ONE.astype(np.float64),
        ONE.astype(np.int64),
        ONE.astype(np.uint16),
        ONE.astype(bool),
        ONE.astype(complex),
        ONE.astype(">f4"),
        ONE.astype(">f2"),
        ONE.astype(object),
        np.array(["a"] * 32),
        np.zeros(32, "datetime64[s]"),
        np.zeros(32, [("x", np.float32)]),
        "vector",
        b"vector",
        None,
        {"a": 1},
        object(),
        7,
        ["a"] * 32,
        [[1.0], [1.0, 2.0]],
        [object()],
    ],
)
def test_a_wrong_type_is_named(index, queries):
    with pytest.raises(nearfield.InvalidTypeError) as caught:
        index.search(queries)
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, nearfield.Error)
    with pytest.raises(nearfield.InvalidTypeError):
        index.add([5000], queries)


@pytest.mark.parametrize(
    "queries",
    [
        np.float32(1),
        np.zeros((), np.float32),
        np.zeros((1, 1, 32), np.float32),
        np.zeros(31, np.float32),
        np.zeros(33, np.float32),
        np.zeros(0, np.float32),
        np.zeros((2, 31), np.float32),
        np.zeros((2, 0), np.float32),
        np.zeros((0, 31), np.float32),
        np.zeros((0, 0), np.float32),
        np.full(32, np.nan, np.float32),
        np.full(32, np.inf, np.float32),
        np.full((3, 32), -np.inf, np.float32),
        np.full(32, 1e30, np.float32),
        [float("nan")] * 32,
        [1e300] * 32,
        [],
        [[]],
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_wrong_shape_or_number_is_named(index, queries):
    with pytest.raises(nearfield.InvalidInputError) as caught:
        index.search(queries)
    assert isinstance(caught.value, ValueError) and str(caught.value)
    with pytest.raises(nearfield.InvalidInputError):
        index.add(np.arange(5000, 5000 + max(np.shape(queries)[:1] or (1,))), queries)
    assert len(index) == 1000


def test_the_first_wrong_vector_is_named_and_none_is_inserted(index, vectors):
    batch = vectors[:500].copy()
    batch[400, 3] = np.nan
    with pytest.raises(nearfield.InvalidInputError, match="vector 400 .* component 3"):
        index.add(np.arange(2000, 2500), batch)
    assert len(index) == 1000
    cosine = Index(32, "cosine")
    with pytest.raises(nearfield.InvalidInputError, match="zero vector"):
        cosine.add(1, np.zeros(32, np.float32))


@pytest.mark.parametrize("keys", [[-1], np.array([-1]), [2**64], np.array([[1]]), np.zeros((1, 1), np.uint64)])
def test_keys_out_of_range_are_named(index, keys):
    for call in [lambda: index.add(keys, ONE[None]), lambda: index.remove(keys), lambda: KeySet(keys)]:
        with pytest.raises(nearfield.InvalidInputError):
            call()


@pytest.mark.parametrize("keys", [["a"], np.array([1.0]), [1.5], None, "a", b"a", np.array([True]), [None], object()])
def test_keys_of_a_wrong_type_are_named(index, keys):
    for call in [
        lambda: index.add(keys, ONE[None]),
        lambda: index.remove(keys),
        lambda: index.search(ONE, exclude=keys if keys is not None else 5),
    ]:
        with pytest.raises(nearfield.InvalidTypeError):
            call()


def test_keys_and_vectors_are_as_many(index):
    with pytest.raises(nearfield.InvalidInputError, match="2 keys given for 1 vectors"):
        index.add([1, 2], ONE[None])
    with pytest.raises(nearfield.InvalidInputError, match="1 keys given for 2 vectors"):
        index.add(5000, np.ones((2, 32), np.float32))
    with pytest.raises(nearfield.AlreadyExistsError, match="key 5000"):
        index.add([5000, 5000], np.ones((2, 32), np.float32))


@pytest.mark.parametrize("k", [0, 1, 10**9, 2**64 - 1])
def test_any_k_is_answered(index, vectors, k):
    expected = min(k, 1000)
    assert index.search(vectors[0], k=k, ef=2000).keys.shape == (expected,)
    assert index.search(vectors[:2], k=k, ef=2000).keys.shape == (2, expected)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"k": -1}, nearfield.InvalidInputError),
        ({"k": 2**64}, nearfield.InvalidInputError),
        ({"k": 1.5}, nearfield.InvalidTypeError),
        ({"k": "1"}, nearfield.InvalidTypeError),
        ({"k": None}, nearfield.InvalidInputError),
        ({"ef": 0}, nearfield.InvalidInputError),
        ({"ef": -5}, nearfield.InvalidInputError),
        ({"ef": 5, "recall": 0.9}, nearfield.InvalidInputError),
        ({"recall": 0.0}, nearfield.InvalidInputError),
        ({"recall": 1.5}, nearfield.InvalidInputError),
        ({"recall": float("nan")}, nearfield.InvalidInputError),
        ({"recall": "high"}, nearfield.InvalidTypeError),
        ({"within": float("nan")}, nearfield.InvalidInputError),
        ({"within": []}, nearfield.InvalidTypeError),
        ({"nprobe": 3}, nearfield.InvalidInputError),
        ({"timeout": -1}, nearfield.InvalidInputError),
        ({"timeout": float("nan")}, nearfield.InvalidInputError),
        ({"filter": 5}, nearfield.InvalidTypeError),
        ({"filter": {"a": 1}}, nearfield.InvalidTypeError),
        ({"filter": "a = 1"}, nearfield.InvalidTypeError),
        ({"filter": b"a"}, nearfield.InvalidTypeError),
        ({"filter": np.ones(1000, bool)}, nearfield.InvalidTypeError),
        ({"filter": [-1]}, nearfield.InvalidInputError),
    ],
)
def test_wrong_settings_of_searches_are_named(index, settings, kind):
    for queries in [ONE, ONE[None]]:
        with pytest.raises(kind) as caught:
            index.search(queries, **settings)
        assert isinstance(caught.value, nearfield.Error)


def test_zero_threads_are_refused(index):
    with pytest.raises(nearfield.InvalidInputError, match="threads is 0"):
        index.search(ONE[None], threads=0)
    with pytest.raises(nearfield.InvalidInputError, match="threads is 0"):
        index.add([5000], ONE[None], threads=0)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: Index(0), nearfield.InvalidInputError),
        (lambda: Index(-1), nearfield.InvalidInputError),
        (lambda: Index(10**6), nearfield.InvalidInputError),
        (lambda: Index("32"), nearfield.InvalidTypeError),
        (lambda: Index(32, "euclid"), nearfield.InvalidInputError),
        (lambda: Index(32, element="f64"), nearfield.InvalidInputError),
        (lambda: Index(32, quantization="sq3"), nearfield.InvalidInputError),
        (lambda: Index(32, quantization="pq0x8"), nearfield.InvalidInputError),
        (lambda: Index(32, quantization="pq32x"), nearfield.InvalidInputError),
        (lambda: Index(32, originals="lost"), nearfield.InvalidInputError),
        (lambda: Index(32, m=1), nearfield.InvalidInputError),
        (lambda: Index(32, m=10**9), nearfield.InvalidInputError),
        (lambda: Index(32, ef_construction=0), nearfield.InvalidInputError),
        (lambda: Index(32, alpha=float("nan")), nearfield.InvalidInputError),
        (lambda: Index(32, "hamming", element="f32"), nearfield.InvalidInputError),
        (lambda: Ivf(32, quantization="sq8"), nearfield.InvalidInputError),
        (lambda: Ivf(32, lists=0), nearfield.InvalidInputError),
        (lambda: Flat(0), nearfield.InvalidInputError),
        (lambda: Index.load("/no/such/file"), nearfield.NotFoundError),
        (lambda: Index.open(__file__), nearfield.Error),
        (lambda: Collection("/no/such/file"), nearfield.NotFoundError),
        (lambda: Collection("/no/such/folder/file", 3), nearfield.NotFoundError),
        (lambda: Collection("x.nf", metric="l2"), nearfield.InvalidInputError),
        (lambda: Collection("x.nf", 3, read_only=True), nearfield.InvalidInputError),
    ],
)
def test_wrong_settings_of_indexes_are_named(make, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as caught:
        make()
    assert isinstance(caught.value, nearfield.Error)


def test_an_exception_of_a_filter_is_raised(index, vectors):
    def broken(key):
        raise LookupError("no price")

    for queries in [vectors[0], vectors[:5]]:
        with pytest.raises(LookupError, match="no price"):
            index.search(queries, filter=broken)
    assert len(index.search(vectors[0], filter=lambda key: True).keys) == 10


def test_a_filter_may_search_but_not_change(index, vectors):
    def searching(key):
        return key in index and len(index.search(vectors[1], k=1).keys) == 1

    assert len(index.search(vectors[0], filter=searching).keys) == 10
    for change in [
        lambda key: index.remove(key),
        lambda key: index.add(9999, vectors[0]),
        lambda key: index.upsert(key, vectors[0]),
        lambda key: index.maintain(),
    ]:
        with pytest.raises(nearfield.DeadlockError, match="filter"):
            index.search(vectors[0], filter=change)
    assert len(index) == 1000


def test_use_after_close(index, path):
    index.close()
    index.close()
    assert index.closed
    for call in [
        lambda: index.search(ONE),
        lambda: index.add(1, ONE),
        lambda: index.upsert(1, ONE),
        lambda: index.remove(1),
        lambda: index.get(1),
        lambda: index.keys(),
        lambda: list(index),
        lambda: len(index),
        lambda: 1 in index,
        lambda: index.save(path),
        lambda: index.stats(),
        lambda: index.calibrate(),
        lambda: index.check(),
    ]:
        with pytest.raises(nearfield.ClosedError):
            call()
    assert index.dimension == 32 and "closed" in repr(index)


def test_threads_search_while_another_closes(vectors, path):
    for round_ in range(20):
        index = Index(32, "l2")
        index.add(np.arange(500), vectors[:500])
        collection = Collection(path.with_suffix(f".{round_}"), 32, "l2")
        with collection.write() as tx:
            tx.upsert(np.arange(100), vectors[:100])
        problems = []

        def search(searched):
            try:
                while True:
                    if len(searched.search(vectors[:20], k=5).keys[0]) != 5:
                        problems.append("short")
            except nearfield.ClosedError:
                pass
            except BaseException as error:
                problems.append(repr(error))

        threads = [threading.Thread(target=search, args=[searched]) for searched in [index, index, collection, collection]]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        index.close()
        collection.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert not problems


def test_many_threads_add_search_and_remove(vectors):
    index = Index(32, "l2")
    problems = []

    def work(part):
        try:
            keys = np.arange(part * 700, part * 700 + 700)
            index.add(keys, vectors[:700])
            index.search(vectors[:50])
            index.upsert(keys[:300], vectors[300:600])
            assert index.remove(keys[:100]) == 100
        except BaseException as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=work, args=[part]) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems and len(index) == 2400 and index.check()[0]


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import nearfield

random = np.random.default_rng(0)
what = sys.argv[1]
vectors = random.standard_normal((200_000, 256), dtype=np.float32)
flat = nearfield.Flat(256, "l2")
flat.add(np.arange(20_000), vectors[:20_000])
calls = {
    "search": lambda: flat.search(vectors[:100_000], k=10),
    "one": lambda: flat.search(vectors[0], filter=lambda key: time.sleep(0.01)),
    "add": lambda: nearfield.Index(256).add(np.arange(200_000), vectors),
    "upsert": lambda: nearfield.Index(256).upsert(np.arange(200_000), vectors),
}
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
began = time.monotonic()
try:
    calls[what]()
    print("ended by itself")
except KeyboardInterrupt:
    print("interrupted" if time.monotonic() - began < 8 else "late")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")
@pytest.mark.parametrize("what", ["search", "one", "add", "upsert"])
def test_an_interrupt_ends_a_long_call(what):
    result = subprocess.run([sys.executable, "-c", INTERRUPTED, what], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "interrupted", result


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_not_killed(vectors, path: Path):
    memory = Index(32, "l2")
    memory.add(np.arange(1000), vectors[:1000])
    memory.save(path)
    mapped = Index.open(path)
    collection = Collection(path.with_name("c.nf"), 32, "l2")
    with collection.write() as tx:
        tx.upsert(np.arange(50), vectors[:50])
    mapped.search(vectors[:50])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            refused = 0
            for call in [
                lambda: mapped.search(vectors[0]),
                lambda: mapped.search(vectors[:50]),
                lambda: mapped.add(9000, vectors[0]),
                lambda: collection.search(vectors[0]),
                lambda: collection.write().__enter__(),
                lambda: collection.payload(1),
            ]:
                try:
                    call()
                except nearfield.ForkedError:
                    refused += 1
            # An index in memory is the child's own, and so is a file that the child opens.
            own = len(memory.search(vectors[:20]).keys) == 20 and len(Index.load(path)) == 1000
            status = 0 if refused == 6 and own else 2 + refused
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(mapped.search(vectors[0]).keys) == 10
