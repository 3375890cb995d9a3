"""Haystack's own suite for document stores, whole, and filters against Haystack's own evaluation."""

import random
from datetime import datetime, timedelta, timezone

import pytest

pytest.importorskip("haystack", reason="haystack-ai is not installed")

from haystack import Pipeline
from haystack.dataclasses import ByteStream, Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.testing.document_store import CountDocumentsByFilterTest, DocumentStoreBaseExtendedTests
from haystack.utils.filters import document_matches_filter

import nearfield
from nearfield._filters import Untranslatable
from nearfield.haystack import NearfieldDocumentStore, NearfieldEmbeddingRetriever


class TestStandard(DocumentStoreBaseExtendedTests, CountDocumentsByFilterTest):
    @pytest.fixture
    def document_store(self, tmp_path):
        with NearfieldDocumentStore(tmp_path / "documents.nf", embedding_dim=768) as store:
            yield store

    def test_write_documents(self, document_store):
        """The suite asks each store for a test of its own: an id is refused if it exists."""
        documents = [Document(id="1", content="a"), Document(id="2", content="b")]
        assert document_store.write_documents(documents) == 2
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([Document(id="3"), documents[0]])
        assert document_store.filter_documents() == documents


VALUES = [
    None, 0, 1, -3, 2.5, 1.0, float("inf"), True, False, "", "a", "b", "1", "2024-05-01", "2024-05-01T12:00:00",
    "2024-05-01T12:00:00+02:00", "2024-05-01T10:00:00Z", "2024-05-01T12:00:00+00:00", ["a", "b"], ["a"], 2**70, [1, 2],
    {"deep": 1}, {"deep": "a"}, {"deep": None}, {},
    datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 12, tzinfo=timezone.utc), datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))),
]  # fmt: skip
FIELDS = ["meta.x", "meta.y", "x", "meta.x.deep", "meta.none", "id", "content", "meta.$odd"]


def random_filter(source, depth):
    if depth and source.random() < 0.6:
        parts = [random_filter(source, depth - 1) for _ in range(source.randint(1, 3))]
        return {"operator": source.choice(["AND", "OR", "NOT"]), "conditions": parts}
    operator = source.choice(["==", "!=", ">", ">=", "<", "<=", "in", "not in"])
    value = source.choices(VALUES, k=source.randint(0, 3)) if operator in {"in", "not in"} else source.choice(VALUES)
    return {"field": source.choice(FIELDS), "operator": operator, "value": value}


def test_filters_accept_what_haystack_accepts(tmp_path):
    source = random.Random(5)
    with NearfieldDocumentStore(tmp_path / "documents.nf", embedding_dim=2) as store:
        documents = [
            Document(id=str(at), content=f"text {at}", meta={"x": x, "y": source.choice(VALUES), "$odd": source.choice(VALUES), "a.b": 1})
            for at, x in enumerate(VALUES * 3)
        ]
        store.write_documents(documents)
        assert store.filter_documents() == documents
        compared, in_engine, refused = 0, 0, 0
        for _ in range(1500):
            filters = random_filter(source, 2)
            try:
                expected = [document for document in documents if document_matches_filter(filters, document)]
            except (FilterError, TypeError):
                # Haystack refuses some documents' values as it meets them; the engine accepts none of these.
                refused += 1
                continue
            try:
                accepted = store.filter_documents(filters)
            except FilterError:
                # Haystack did not come to the malformed part.
                refused += 1
                continue
            assert accepted == expected, filters
            compared += 1
        assert compared > 250, (compared, refused)

    # Values that are all attributes: every filter on metadata runs in the engine. Haystack would read "1" as a day of this month.
    plain = [value for value in VALUES if not isinstance(value, (dict, list)) and value not in (2**70, "1")]
    with NearfieldDocumentStore(tmp_path / "plain.nf", embedding_dim=2) as store:
        documents = [Document(id=str(at), meta={"x": x, "y": source.choice(plain)}) for at, x in enumerate(plain * 3)]
        store.write_documents(documents)
        for field in ["meta.x", "y"]:
            for value in plain:
                for operator in ["==", "!=", ">", ">=", "<", "<=", "in", "not in"]:
                    filters = {"field": field, "operator": operator, "value": [value, "a"] if "in" in operator else value}
                    for filters in [filters, {"operator": "NOT", "conditions": [filters]}]:
                        accepted = []
                        try:
                            store._predicate(filters)
                        except (FilterError, Untranslatable):
                            continue
                        in_engine += 1
                        for document in documents:
                            try:
                                if document_matches_filter(filters, document):
                                    accepted.append(document)
                            except (FilterError, TypeError):
                                if "operator" in filters and filters["operator"] == "NOT":
                                    accepted.append(document)
                        assert store.filter_documents(filters) == accepted, filters
        assert in_engine > 500


def test_documents_come_back(tmp_path):
    documents = [
        Document(content="a\0b", meta={"n": None, "deep": {"list": [1, {"x": 2}]}, "time": datetime(2024, 1, 1)}, embedding=[0.1, 1 / 3]),
        Document(blob=ByteStream(b"\x00\xff", meta={"a": 1}, mime_type="x/y"), score=0.5),
        Document(content="exact", embedding=[0.5, -0.25]),
        Document(id="empty"),
    ]
    with NearfieldDocumentStore(tmp_path / "d.nf", embedding_dim=2) as store:
        assert store.write_documents(documents) == 4
        assert store.write_documents(documents + [Document(id="new")], DuplicatePolicy.SKIP) == 1
        store.close()
        assert store.filter_documents()[:4] == documents
        with pytest.raises(nearfield.InvalidInputError, match="3 components"):
            store.write_documents([Document(embedding=[1.0, 2.0, 3.0])])
        assert store.write_documents([]) == 0 and store.count_documents() == 5


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_embeddings_are_searched(tmp_path, metric):
    source = random.Random(1)
    documents = [
        Document(id=str(at), content=str(at), meta={"at": at}, embedding=[source.gauss(0, 1) for _ in range(8)] if at % 2 else None)
        for at in range(100)
    ]
    with NearfieldDocumentStore(tmp_path / "d.nf", embedding_dim=8, metric=metric) as store:
        store.write_documents(documents)
        found = store.embedding_retrieval(documents[7].embedding, top_k=60)
        assert len(found) == 50 and all(document.embedding for document in found)
        assert metric == "ip" or found[0].id == "7"
        scores = [document.score for document in found]
        assert scores == sorted(scores, reverse=True)
        scaled = store.embedding_retrieval(documents[7].embedding, top_k=60, scale_score=True, return_embedding=False)
        assert [document.id for document in scaled] == [document.id for document in found]
        assert all(0 <= document.score <= 1.0001 and document.embedding is None for document in scaled)
        some = store.embedding_retrieval(documents[7].embedding, {"field": "meta.at", "operator": "<", "value": 10})
        assert {document.id for document in some} == {"1", "3", "5", "7", "9"}
        some = store.embedding_retrieval(documents[7].embedding, {"field": "content", "operator": "in", "value": ["7", "9", "2"]})
        assert {document.id for document in some} == {"7", "9"}


def test_a_pipeline_is_written_and_read(tmp_path):
    with NearfieldDocumentStore(tmp_path / "d.nf", embedding_dim=2) as store:
        store.write_documents([Document(id="a", embedding=[1.0, 0.0]), Document(id="b", embedding=[0.0, 1.0])])
        pipeline = Pipeline()
        pipeline.add_component("retriever", NearfieldEmbeddingRetriever(store, top_k=1))
        text = pipeline.dumps()
        store.close()
    again = Pipeline.loads(text, allowed_modules=["nearfield.haystack"])
    documents = again.run({"retriever": {"query_embedding": [0.9, 0.1]}})["retriever"]["documents"]
    assert [document.id for document in documents] == ["a"]
    again.get_component("retriever").document_store.close()
