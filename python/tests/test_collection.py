"""Collections: transactions, names, payloads, attributes, predicates, snapshots, maintenance."""

import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

import nearfield
from nearfield import Collection, Record, Snapshot

YEAR = {"year": {"$gte": 2020}}


@pytest.fixture
def papers(path, vectors):
    collection = Collection(path, dimension=32, metric="l2")
    with collection.write() as tx:
        tx.upsert(
            [f"paper {at}" for at in range(100)],
            vectors[:100],
            payload=[f"text {at}".encode() for at in range(100)],
            attributes=[{"year": 1950 + at, "tags": ["even"] if at % 2 == 0 else ["odd", "rare"]} for at in range(100)],
        )
    return collection


def test_a_block_commits_and_an_exception_rolls_back(path, vectors):
    with Collection(path, 32, "l2") as collection:
        assert len(collection) == 0 and not collection.read_only
        with collection.write() as tx:
            assert tx.upsert(5, vectors[0]) == 5
            assert 5 in tx and 5 not in collection
        assert 5 in collection and "ended" in repr(tx)
        with pytest.raises(RuntimeError, match="stop"):
            with collection.write() as tx:
                tx.upsert(6, vectors[1])
                tx.remove(5)
                raise RuntimeError("stop")
        assert sorted(collection) == [5]
        with collection.write() as tx:
            tx.upsert(7, vectors[1])
            tx.rollback()
            tx.rollback()
        with collection.write(durability="eventual") as tx:
            tx.upsert(8, vectors[1])
            number = tx.commit()
        assert number > 0 and sorted(collection) == [5, 8]
    with Collection(path) as collection:
        assert sorted(collection) == [5, 8] and collection.dimension == 32 and collection.metric == "l2"
        assert np.array_equal(collection.get(8), vectors[1])


def test_a_transaction_is_entered_once_and_used_within(papers, vectors):
    tx = papers.write()
    with pytest.raises(nearfield.TransactionError, match="not begun"):
        tx.upsert(1, vectors[0])
    with tx:
        with pytest.raises(nearfield.DeadlockError):
            papers.write().__enter__()
        for call in [papers.checkpoint, papers.compact, papers.check, papers.stats, papers.close]:
            with pytest.raises(nearfield.DeadlockError):
                call()
        assert not papers.closed
    for call in [lambda: tx.upsert(1, vectors[0]), tx.commit, lambda: tx.remove(1), lambda: tx.payload(1)]:
        with pytest.raises(nearfield.TransactionError, match="ended"):
            call()
    with pytest.raises(nearfield.TransactionError, match="once"):
        with tx:
            pass
    with pytest.raises(nearfield.InvalidInputError, match="durability"):
        papers.write(durability="later")


def test_names_payloads_and_attributes_come_back(papers):
    key = papers.key_of("paper 7")
    assert key >= 2**63 and papers.key_of("none") is None and papers.name_of(key) == "paper 7"
    assert papers.payload("paper 7") == papers.payload(key) == b"text 7"
    assert papers.attributes("paper 7") == {"year": 1957, "tags": ["odd", "rare"]}
    assert papers.record("paper 7") == Record(key, "paper 7", b"text 7", {"year": 1957, "tags": ["odd", "rare"]})
    assert papers.record("none") is None and papers.record(1) is None
    assert papers.payload("none") is None and papers.attributes("none") == {} and papers.attributes(3) == {}
    names = [record.name for record in papers.records([key, key + 1])]
    assert names == ["paper 7", "paper 8"]
    with papers.write() as tx:
        first = tx.upsert(b"\xff\xfe", papers.get(key))
        assert tx.key_of(b"\xff\xfe") == first and tx.key_of("paper 7") == key
        tx.put_payload("paper 7", b"new")
        tx.set_attributes(key, {"year": 3})
        assert tx.payload(key) == b"new" and tx.attributes("paper 7") == {"year": 3}
        assert tx.remove_payload("paper 8") and not tx.remove_payload("paper 8")
        assert tx.remove_attributes("paper 8") and not tx.remove_attributes("none")
        with pytest.raises(nearfield.NotFoundError):
            tx.put_payload("none", b"")
        with pytest.raises(nearfield.NotFoundError):
            tx.put_payload(12345, b"")
    assert papers.name_of(first) == b"\xff\xfe"
    assert papers.payload("paper 7") == b"new" and papers.attributes("paper 7") == {"year": 3}
    assert papers.payload("paper 8") is None and papers.attributes("paper 8") == {}


def test_values_of_every_kind_come_back(path, vectors):
    moment = datetime(2024, 5, 1, 12, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    values = {
        "int": -(2**63),
        "float": 0.1,
        "infinite": float("-inf"),
        "bool": True,
        "text": "nüll",
        "time": moment,
        "texts": ["a", "b"],
        "none": None,
        "scalar": np.int32(7),
        "half": np.float32(0.5),
    }
    with Collection(path, 32) as collection:
        with collection.write() as tx:
            tx.upsert(1, vectors[0], attributes=values)
        back = collection.attributes(1)
        assert back == {name: value for name, value in values.items() if value is not None}
        assert type(back["bool"]) is bool and type(back["int"]) is int and back["time"].tzinfo is timezone.utc
        assert collection.matching({"time": {"$lt": moment + timedelta(microseconds=1)}}).keys().tolist() == [1]
        assert len(collection.matching({"time": {"$lt": moment}})) == 0
        assert len(collection.matching({"infinite": {"$lte": float("-inf")}})) == 1


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"a": 2**63}, nearfield.InvalidInputError),
        ({"a": float("nan")}, nearfield.InvalidInputError),
        ({"a": b"x"}, nearfield.InvalidTypeError),
        ({"a": [1]}, nearfield.InvalidTypeError),
        ({"a": {"b": 1}}, nearfield.InvalidTypeError),
        ({"a": datetime(2024, 5, 1)}, nearfield.InvalidInputError),
        ({"": 1}, nearfield.InvalidInputError),
        ({1: 1}, nearfield.InvalidTypeError),
        ([], nearfield.InvalidTypeError),
        ({"a": "x" * 70_000}, nearfield.InvalidInputError),
    ],
)
def test_wrong_attributes_are_named(papers, vectors, attributes, kind):
    with pytest.raises(kind):
        with papers.write() as tx:
            tx.upsert(1, vectors[0], attributes=attributes)
    assert 1 not in papers


def test_predicates_filter_as_dict_text_and_selection(papers, vectors):
    selected = papers.matching(YEAR)
    assert len(selected) == 30 and papers.key_of("paper 70") in selected and 5 not in selected
    assert sorted(selected) == selected.keys().tolist() == list(selected)
    text = "year >= 2020"
    wanted = papers.search(vectors[80], k=50, filter=selected).keys.tolist()
    assert len(wanted) == 30
    for predicate in [YEAR, text]:
        assert papers.search(vectors[80], k=50, filter=predicate).keys.tolist() == wanted
        batch = papers.search(vectors[80:82], k=50, filter=predicate)
        assert batch.keys[0].tolist()[:30] == wanted and batch.counts.tolist() == [30, 30]
    assert len(papers.search(vectors[80], k=90, exclude=selected).keys) == 70
    odd = {"$and": [{"tags": {"$has": "odd"}}, {"year": {"$between": [2000, 2009]}}]}
    assert len(papers.matching(odd)) == len(papers.matching("tags has 'odd' and year between 2000 and 2009")) == 5
    assert len(papers.matching({"year": {"$in": (1950, 1951, 7)}})) == 2
    assert papers.facet("tags") == [("even", 50), ("odd", 50), ("rare", 50)]
    assert papers.facet("year")[0] == (1950, 1) and papers.facet("none") == []
    with papers.write() as tx:
        assert len(tx.matching(YEAR)) == 30
        assert tx.remove_where({"tags": {"$has": "rare"}}) == 50
        assert len(tx.matching(YEAR)) == 15
    assert len(papers) == 50


@pytest.mark.parametrize(
    "predicate", [{"year": {"$gte": None}}, {"year": {"$near": 3}}, "year >=", {"a": float("nan")}, {"a": 2**70}, {"a": object()}, {1: 2}, 5]
)
def test_wrong_predicates_are_named(papers, predicate):
    with pytest.raises(nearfield.InvalidInputError) as caught:
        papers.matching(predicate)
    assert isinstance(caught.value, nearfield.Error)
    deep = {"a": 1}
    for _ in range(300):
        deep = {"$not": deep}
    with pytest.raises(nearfield.InvalidInputError, match="levels"):
        papers.matching(deep)


def test_batches_of_names_and_keys(path, vectors):
    collection = Collection(path, 32, "l2")
    with collection.write() as tx:
        named = tx.upsert(["a", b"b", "c"], vectors[:3], payload=[b"1", None, b"3"])
        assert named.dtype == np.uint64 and named.tolist() == [2**63, 2**63 + 1, 2**63 + 2]
        assert tx.upsert(["c", "a"], vectors[3:5]).tolist() == [2**63 + 2, 2**63]
        assert tx.upsert(np.arange(5000), np.tile(vectors, (2, 1))[:5000]).tolist() == list(range(5000))
        for wrong in [["a", 5], [5, "a"]]:
            with pytest.raises(nearfield.InvalidTypeError):
                tx.upsert(wrong, vectors[:2])
        with pytest.raises(nearfield.InvalidInputError, match="3 keys given for 2 vectors"):
            tx.upsert([1, 2, 3], vectors[:2])
        with pytest.raises(nearfield.InvalidInputError, match="payload has 1 entries for 2 keys"):
            tx.upsert([1, 2], vectors[:2], payload=[b""])
        with pytest.raises(nearfield.InvalidTypeError, match="payload"):
            tx.upsert([1, 2], vectors[:2], payload=b"ab")
        with pytest.raises(nearfield.InvalidTypeError, match="payload is bytes"):
            tx.upsert(1, vectors[0], payload="text")
        assert tx.remove(["a", "nothing"]) == 1 and tx.remove("a") == 0 and tx.remove(0) == 1
        assert tx.remove(np.arange(1, 10)) == 9
    assert len(collection) == 5000 + 2 - 10
    assert collection.payload("c") == b"3" and collection.payload("b") is None
    assert np.array_equal(collection.get(2**63 + 2), vectors[3])
    hits = collection.search(vectors[100], k=1)
    assert hits.distances.tolist() == [0]


def test_a_snapshot_does_not_change(papers, vectors):
    snapshot = papers.snapshot()
    assert isinstance(snapshot, Snapshot) and snapshot.number >= 1
    with papers.write() as tx:
        tx.upsert("new", vectors[200])
        tx.remove("paper 0")
        tx.put_payload("paper 1", b"other")
    assert len(snapshot) == 100 and len(papers) == 100
    assert snapshot.key_of("new") is None and papers.key_of("new") is not None
    assert snapshot.payload("paper 1") == b"text 1"
    assert snapshot.search(vectors[0], k=1).distances.tolist() == [0]
    assert len(snapshot.matching(YEAR)) == 30
    assert snapshot.record("paper 0").payload == b"text 0" and papers.record("paper 0") is None
    snapshot.close()
    with pytest.raises(nearfield.ClosedError):
        snapshot.payload("paper 1")


def test_a_reader_follows_the_writer(papers, path, vectors):
    with Collection(path, read_only=True) as reader:
        assert reader.read_only and len(reader) == 100 and reader.dimension == 32
        with papers.write() as tx:
            tx.upsert("new", vectors[200], payload=b"seen")
        assert len(reader) == 101 and reader.payload("new") == b"seen"
        assert reader.search(vectors[200], k=1).distances.tolist() == [0]
        assert len(reader.search(vectors[:3], filter=YEAR).keys) == 3
        for call in [reader.write, reader.compact, reader.checkpoint, reader.check, reader.stats]:
            with pytest.raises(nearfield.ReadOnlyError):
                call()
        assert "Collection of 101" in repr(reader) and "Collection of 101" in reader._repr_html_()
        snapshot = reader.snapshot()
        assert len(snapshot) == 101
    with pytest.raises(nearfield.LockedError):
        Collection(path)


def test_settings_of_the_file_are_compared(papers, path):
    papers.close()
    with pytest.raises(nearfield.IncompatibleError, match="dimension"):
        Collection(path, 33, "l2")
    with pytest.raises(nearfield.IncompatibleError, match="metric"):
        Collection(path, 32, "cosine")
    with Collection(path, 32, "l2") as again:
        assert len(again) == 100


def test_maintenance(papers, path: Path, vectors):
    calls = []
    papers.checkpoint(progress=lambda done, total: calls.append((done, total)))
    assert calls and calls[-1][0] == calls[-1][1]
    sound, report = papers.check()
    assert sound and "pages" in report
    copy = path.with_name("copy.nf")
    papers.backup(copy, progress=False)
    papers.preload()
    with papers.write() as tx:
        tx.remove_where("year >= 1951")
    assert papers.compact() >= 0 and len(papers) == 1
    stats = papers.stats()
    assert stats["index"]["len"] == 1 and stats["commit"] >= 2
    assert "vectors" in papers._repr_html_()
    with Collection(copy) as other:
        assert len(other) == 100 and other.payload("paper 99") == b"text 99"


def test_collections_are_merged(tmp_path: Path, vectors):
    paths = [tmp_path / f"{part}.nf" for part in range(3)]
    for part, part_path in enumerate(paths):
        with Collection(part_path, 32, "l2") as collection, collection.write() as tx:
            keys = np.arange(part, 300, 3)
            tx.upsert(keys, vectors[keys], payload=[str(key).encode() for key in keys.tolist()])
    whole = tmp_path / "whole.nf"
    with Collection(paths[0]) as first:
        assert Collection.merge([first, first.snapshot(), paths[1], str(paths[2])], whole) == 300
    with Collection(whole) as merged:
        assert sorted(merged) == list(range(300)) and merged.payload(299) == b"299"
        assert merged.search(vectors[:300], k=1).keys[:, 0].tolist() == list(range(300))
    with pytest.raises(nearfield.InvalidInputError, match="rule"):
        Collection.merge([paths[0]], whole, rule="any")
    with pytest.raises(nearfield.InvalidTypeError):
        Collection.merge([nearfield.Flat(32)], whole)


def test_writers_of_several_threads_take_turns(path, vectors):
    collection = Collection(path, 32, "l2")
    problems = []

    def write(part):
        try:
            for at in range(10):
                with collection.write(durability="none") as tx:
                    tx.upsert(part * 100 + at, vectors[at])
        except BaseException as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=write, args=[part]) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems and len(collection) == 40 and collection.check()[0]


def test_a_transaction_is_used_by_another_thread(papers, vectors):
    with papers.write() as tx:
        thread = threading.Thread(target=lambda: tx.upsert(1, vectors[0]))
        thread.start()
        thread.join()
    assert 1 in papers


def test_a_collection_calibrates(papers, vectors):
    papers.calibrate(vectors[100:200], k=3)
    assert len(papers.search(vectors[0], k=3, recall=0.5).keys) == 3


def test_use_after_close(papers):
    papers.close()
    for call in [
        lambda: papers.search(np.zeros(32, np.float32)),
        papers.write,
        papers.snapshot,
        papers.compact,
        lambda: papers.payload(1),
        lambda: papers.matching(YEAR),
        lambda: papers.facet("year"),
        lambda: papers.read_only,
    ]:
        with pytest.raises(nearfield.ClosedError):
            call()
    papers.close()
