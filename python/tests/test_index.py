"""Indexes in memory: answers against NumPy's, shapes, filters, files."""

import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

import nearfield
from nearfield import Flat, Index, Ivf, KeySet

NO_KEY = 2**64 - 1


def exact(vectors, queries, k, metric="l2"):
    """Returns the positions and distances of the nearest vectors, computed by NumPy in double precision."""
    vectors, queries = vectors.astype(np.float64), np.atleast_2d(queries).astype(np.float64)
    if metric == "l2":
        distances = ((queries[:, None, :] - vectors[None, :, :]) ** 2).sum(-1)
    elif metric == "ip":
        distances = -queries @ vectors.T
    else:
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(queries, axis=1)[:, None]
        distances = 1 - queries @ vectors.T / norms
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


def filled(kind, vectors, metric="l2", **settings):
    index = kind(vectors.shape[1], metric, **settings)
    index.add(np.arange(len(vectors)), vectors)
    return index


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("kind", [Index, Flat, Ivf])
def test_answers_are_those_of_numpy(kind, metric, vectors):
    queries = vectors[:40] + np.float32(0.05)
    index = filled(kind, vectors, metric)
    keys, distances = index.search(queries, k=10, ef=200, nprobe=10_000 if kind is Ivf else None)
    order, truth = exact(vectors, queries, 10, metric)
    assert keys.shape == distances.shape == (40, 10)
    assert keys.dtype == np.uint64 and distances.dtype == np.float32
    found = np.mean([len(set(a.tolist()) & set(b.tolist())) for a, b in zip(keys, order)]) / 10
    assert found == 1 if kind is not Index else found > 0.97
    same = keys == order
    assert np.allclose(distances[same], truth[same], rtol=1e-4, atol=1e-4)


def test_one_query_gives_one_dimension_and_a_batch_gives_two(vectors):
    index = filled(Index, vectors[:100])
    one, many = index.search(vectors[3], k=5), index.search(vectors[3:4], k=5)
    assert one.keys.shape == one.distances.shape == (5,)
    assert many.keys.shape == many.distances.shape == (1, 5)
    assert one.keys.tolist() == many.keys[0].tolist()
    assert one.counts.tolist() == many.counts.tolist() == [5]
    assert one.is_complete and many.is_complete
    assert one.distances_computed > 0 and one.plan is not None
    assert many.distances_computed is None and many.plan is None
    assert len(one) == 2 and one[0] is one.keys and one[-1] is one.distances
    with pytest.raises(IndexError):
        one[2]
    assert index.search(vectors[:0]).keys.shape == (0, 10)


def test_places_without_an_answer_say_so(vectors):
    index = filled(Flat, vectors[:3])
    keys, distances = index.search(vectors[5], k=10)
    assert keys.shape == (3,)
    hits = index.search(vectors[:2], k=10)
    assert hits.keys.shape == (2, 3)
    hits = index.search(vectors[:2], k=2, filter=[1])
    assert hits.keys.tolist() == [[1, NO_KEY], [1, NO_KEY]]
    assert np.isnan(hits.distances[:, 1]).all() and not np.isnan(hits.distances[:, 0]).any()
    assert hits.counts.tolist() == [1, 1]
    assert hits.counts.dtype == np.int64


@pytest.mark.parametrize(
    "accept",
    [
        lambda keys: keys,
        lambda keys: keys.astype(np.int32),
        lambda keys: keys.tolist(),
        lambda keys: set(keys.tolist()),
        lambda keys: frozenset(keys.tolist()),
        lambda keys: (key for key in keys.tolist()),
        lambda keys: KeySet(keys),
        lambda keys: set(keys.tolist()).__contains__,
        lambda keys: lambda key: key % 7 == 3,
    ],
)
@pytest.mark.parametrize("kind", [Index, Flat, Ivf])
def test_filters_of_every_kind_accept_the_same(kind, accept, vectors):
    index = filled(kind, vectors)
    keys = np.arange(3, 3000, 7, dtype=np.uint64)
    order, _ = exact(vectors[keys], vectors[10], 10)
    hits = index.search(vectors[10], filter=accept(keys), ef=300, nprobe=10_000 if kind is Ivf else None)
    assert set(hits.keys.tolist()) == set(keys[order[0]].tolist())
    batch = index.search(vectors[10:12], filter=accept(keys), ef=300, nprobe=10_000 if kind is Ivf else None)
    assert set(batch.keys[0].tolist()) == set(hits.keys.tolist())


def test_excluded_keys_are_no_answers(vectors):
    index = filled(Index, vectors)
    nearest = index.search(vectors[5], k=4).keys
    for exclude in [nearest[:2], nearest[:2].tolist(), set(nearest[:2].tolist()), KeySet(nearest[:2])]:
        assert index.search(vectors[5], k=2, exclude=exclude).keys.tolist() == nearest[2:].tolist()


def test_a_radius_bounds_the_answers(vectors):
    index = filled(Flat, vectors)
    _, truth = exact(vectors, vectors[0], 50)
    radius = float(truth[0, 30])
    hits = index.search(vectors[0], k=None, within=radius * 1.0001)
    assert len(hits.keys) == 31 and (hits.distances <= radius * 1.0002).all()
    assert len(index.search(vectors[0], k=5, within=radius).keys) == 5
    batch = index.search(vectors[:3], k=None, within=radius)
    assert batch.keys.shape == (3, batch.counts.max())


def test_recall_is_asked_for_once_it_was_measured(vectors):
    index = filled(Index, vectors)
    with pytest.raises(nearfield.NotReadyError, match="calibrate"):
        index.search(vectors[0], recall=0.95)
    curve = index.calibrate(vectors[:200] + np.float32(0.02), k=5)
    assert curve["k"] == 5 and curve["queries"] == 200 and curve["len"] == 3000
    efs = [ef for ef, _, _ in curve["points"]]
    assert efs == sorted(efs) and all(0 <= low <= recall <= 1 for _, recall, low in curve["points"])
    assert len(index.search(vectors[0], k=5, recall=0.9).keys) == 5
    assert index.stats()["calibration"] == curve
    with pytest.raises(nearfield.NotReadyError):
        index.search(vectors[0], k=6, recall=0.9)


def test_vectors_are_added_replaced_and_removed(vectors):
    for kind in [Index, Flat, Ivf]:
        index = kind(32, "l2")
        index.add(7, vectors[0])
        index.add(np.array([8, 9]), vectors[1:3])
        assert len(index) == 3 and 7 in index and 10 not in index
        assert -1 not in index and "7" not in index and 2**64 not in index
        assert sorted(index) == [7, 8, 9] and sorted(index.keys().tolist()) == [7, 8, 9]
        assert np.array_equal(index.get(8), vectors[1]) and index.get(1) is None
        with pytest.raises(nearfield.AlreadyExistsError, match="key 8"):
            index.add([11, 8], vectors[:2])
        assert 11 not in index
        index.upsert([8, 12, 9], vectors[20:23])
        assert len(index) == 4
        assert np.array_equal(index.get(12), vectors[21]) and np.array_equal(index.get(9), vectors[22])
        index.upsert(np.uint64(7), vectors[30])
        assert np.array_equal(index.get(7), vectors[30])
        with pytest.raises(nearfield.InvalidInputError, match="twice"):
            index.upsert([1, 1], vectors[:2])
        assert index.remove(8) == 1 and index.remove(8) == 0
        assert index.remove(np.array([9, 12, 99])) == 2
        assert sorted(index) == [7]


def test_a_large_upsert_replaces_and_inserts(vectors):
    index = filled(Index, vectors[:1000])
    index.upsert(np.arange(500, 2500), vectors[500:2500][::-1])
    assert len(index) == 2500
    assert np.array_equal(index.get(500), vectors[2499]) and np.array_equal(index.get(2499), vectors[500])
    assert index.check()[0]


@pytest.mark.parametrize("element", ["f32", "f16", "bf16", "i8", "u8"])
def test_arrays_of_each_type_are_taken_as_they_are(element):
    numbers = np.random.default_rng(1).integers(0, 100, (200, 8))
    for dtype in [np.float32, np.float16, np.int8, np.uint8]:
        index = Index(8, "l2", element=element, quantization="none")
        index.add(range(200), numbers.astype(dtype))
        assert index.element == element
        assert index.search(numbers[17].astype(dtype), k=1).distances[0] == 0
        assert index.get(17).tolist() == numbers[17].tolist()


def test_bits_are_packed():
    bits = np.random.default_rng(2).integers(0, 2, (100, 20)).astype(np.uint8)
    packed = np.packbits(bits, axis=1, bitorder="little")
    for kind in [Index, Flat]:
        index = kind(20, "hamming")
        assert index.element == "bit"
        index.add(np.arange(100), packed)
        keys, distances = index.search(packed[4], k=3)
        truth = np.sort((bits != bits[4]).sum(1))[:3]
        assert distances.tolist() == truth.tolist()
        assert index.get(4).tolist() == bits[4].tolist()
        with pytest.raises(nearfield.InvalidInputError, match="3 are expected"):
            index.add([200, 201], bits[:2])


def test_other_layouts_are_copied_and_lists_are_converted(vectors):
    index = Flat(32, "l2")
    index.add(np.arange(100), vectors[:100])
    wide = np.zeros((100, 64), np.float32)
    wide[:, ::2] = vectors[:100]
    for same in [
        np.asfortranarray(vectors[:100]),
        vectors[:100][::-1][::-1],
        wide[:, ::2],
        vectors[:100].tolist(),
        tuple(vectors[:100].tolist()),
    ]:
        assert index.search(same, k=1).keys[:, 0].tolist() == list(range(100))
    backwards = index.search(vectors[:100][::-1], k=1).keys[:, 0]
    assert backwards.tolist() == list(range(99, -1, -1))
    columns_backwards = index.search(vectors[5, ::-1], k=1).distances[0]
    assert columns_backwards == index.search(np.ascontiguousarray(vectors[5, ::-1]), k=1).distances[0]
    unaligned = np.frombuffer(b"\0" + vectors[:2].tobytes(), np.float32, 64, 1).reshape(2, 32)
    assert index.search(unaligned, k=1).keys[:, 0].tolist() == [0, 1]
    readonly = vectors[:2].copy()
    readonly.flags.writeable = False
    assert index.search(readonly, k=1).keys[:, 0].tolist() == [0, 1]

    class Exporter:
        def __dlpack__(self, **options):
            return vectors[:2].__dlpack__(**options)

        def __dlpack_device__(self):
            return vectors.__dlpack_device__()

    assert index.search(Exporter(), k=1).keys[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("kind", [Index, Flat, Ivf])
def test_files_and_pickles_answer_alike(kind, path: Path, vectors):
    index = filled(kind, vectors)
    index.save(path)
    index.save(str(path))
    openers = [kind.load] if kind is Ivf else [kind.load, kind.open]
    copies = [opener(path) for opener in openers] + [pickle.loads(pickle.dumps(index))]
    wanted = index.search(vectors[:20])
    for copy in copies:
        assert type(copy) is kind and len(copy) == len(index)
        hits = copy.search(vectors[:20])
        assert np.array_equal(hits.keys, wanted.keys) and np.array_equal(hits.distances, wanted.distances)
    copies[0].remove(0)
    assert 0 in index


def test_the_same_index_for_any_number_of_threads(path: Path, vectors):
    answers = []
    for threads in [1, 3]:
        index = Index(32, "l2", seed=3)
        index.add(np.arange(3000), vectors, deterministic=True, threads=threads)
        answers.append(index.search(vectors[:100], ef=20, threads=threads).keys)
    assert np.array_equal(*answers)


def test_progress_is_shown(vectors, capsys):
    calls = []
    index = Index(32)
    index.add(np.arange(3000), vectors, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (3000, 3000) and calls == sorted(calls)
    index.upsert(np.arange(3000), vectors, progress=True)
    assert "3.00k" in capsys.readouterr().err or "tqdm" not in __import__("sys").modules
    with pytest.raises(nearfield.InvalidTypeError, match="progress"):
        index.add([5000], vectors[:1], progress="yes")

    def broken(done, total):
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        index.add(np.arange(10_000, 13_000), vectors, progress=broken)


def test_an_index_shows_itself(vectors):
    index = filled(Index, vectors, "cosine")
    assert repr(index) == "<nearfield.Index of 3000 vectors, 32 x f32, cosine>"
    index.calibrate()
    html = index._repr_html_()
    assert "3,000" in html and "<svg" in html and "recall@10" in html
    stats = index.stats()
    assert stats["len"] == 3000 and stats["metric"] == "cosine" and stats["lists"] is None
    assert stats["bytes"]["total"] == sum(count for name, count in stats["bytes"].items() if name != "total")
    lists = filled(Ivf, vectors, lists=8)
    assert lists.is_trained and lists.stats()["lists"]["count"] == 8
    lists.train()
    assert lists.check()[0]
    assert isinstance(index.maintain(0.01), str)
    with index:
        pass
    assert repr(index) == "<nearfield.Index, closed>" == index._repr_html_().replace("&lt;", "<").replace(
        "&gt;", ">"
    ).replace("<code>", "").replace("</code>", "")


def test_threads_search_while_another_inserts(vectors):
    index = filled(Index, vectors[:1000])
    failures = []

    def search():
        for query in vectors[:300]:
            if len(index.search(query, k=3).keys) != 3:
                failures.append(query)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    index.add(np.arange(1000, 3000), vectors[1000:])
    for thread in threads:
        thread.join()
    assert not failures and len(index) == 3000


def test_a_timeout_ends_a_search(vectors):
    index = filled(Flat, vectors)
    hits = index.search(vectors, timeout=0)
    assert not hits.is_complete and "not complete" in repr(hits)


def test_a_class_is_derived_from_an_index(vectors):
    class Named(Index):
        pass

    index = Named(32, "l2")
    index.add(1, vectors[0])
    assert index.search(vectors[0]).keys.tolist() == [1]
