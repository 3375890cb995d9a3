"""LangChain's own suite for vector stores, whole, and tests of what it leaves out."""

from datetime import datetime, timezone

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")
pytest.importorskip("langchain_tests", reason="langchain-tests is not installed")

from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import VectorStoreIntegrationTests

import nearfield
from nearfield.langchain import NearfieldVectorStore


class TestStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        with NearfieldVectorStore(self.get_embeddings(), tmp_path / "documents.nf") as store:
            yield store


@pytest.fixture
def store(tmp_path):
    with NearfieldVectorStore(DeterministicFakeEmbedding(size=16), tmp_path / "documents.nf") as store:
        store.add_texts(
            [f"text {at}" for at in range(50)],
            [{"year": 2000 + at, "tags": ["even"] if at % 2 == 0 else [], "author": {"name": f"A{at % 5}"}} for at in range(50)],
            ids=[f"id {at}" for at in range(50)],
        )
        yield store


def test_filters_are_predicates_or_functions(store):
    def years(filter):
        return sorted(document.metadata["year"] for document in store.similarity_search("text 3", k=50, filter=filter))

    assert years({"year": {"$gte": 2045}}) == years("year >= 2045") == [2045, 2046, 2047, 2048, 2049]
    assert years({"tags": {"$has": "even"}, "author.name": "A0"}) == [2000, 2010, 2020, 2030, 2040]
    assert years(lambda document: document.metadata["year"] < 2003) == [2000, 2001, 2002]
    with pytest.raises(nearfield.InvalidInputError):
        years({"year": {"$near": 1}})


def test_scores_and_relevance(store):
    (first, distance), *rest = store.similarity_search_with_score("text 7", k=5)
    assert first.id == "id 7" and abs(distance) < 1e-5
    assert [d for _, d in rest] == sorted(d for _, d in rest)
    relevant = store.similarity_search_with_relevance_scores("text 7", k=5)
    assert relevant[0][1] == pytest.approx(1, abs=1e-5) and all(0 <= score <= 1.0001 for _, score in relevant)
    assert len(store.max_marginal_relevance_search("text 7", k=3)) == 3
    assert store.max_marginal_relevance_search("text 7", k=3)[0].id == "id 7"
    assert store.similarity_search("text 7", k=0) == []
    assert store.as_retriever(search_kwargs={"k": 2, "filter": "year = 2001"}).invoke("x")[0].metadata["year"] == 2001


def test_a_store_is_opened_again(store, tmp_path):
    store.close()
    with NearfieldVectorStore(store.embeddings, tmp_path / "documents.nf") as again:
        assert again.get_by_ids(["id 3", "none"]) == [
            Document(page_content="text 3", metadata={"year": 2003, "tags": [], "author": {"name": "A3"}}, id="id 3")
        ]
        assert again.delete() and len(again.collection) == 0
    with pytest.raises(nearfield.InvalidInputError, match="metric"):
        NearfieldVectorStore(store.embeddings, tmp_path / "documents.nf", metric="l2")


def test_metadata_come_back(tmp_path):
    metadata = {
        "none": None,
        "large": 2**70,
        "nested": {"list": [1, {"a": None}], "time": datetime(2024, 1, 2, tzinfo=timezone.utc)},
        "naive": datetime(2024, 1, 2, 3),
        "bytes": b"\x00\xff",
        "float": 1e300,
        "": "empty",
        "long": "x" * 100_000,
    }
    embedding = DeterministicFakeEmbedding(size=4)
    with NearfieldVectorStore.from_texts(["a\0b"], embedding, [metadata], ids=["x"], path=tmp_path / "d.nf", metric="l2") as store:
        (document,) = store.get_by_ids(["x"])
        assert document.page_content == "a\0b" and document.metadata == metadata
        assert store.similarity_search("q", k=1, filter={"nested.time": {"$gt": datetime(2024, 1, 1, tzinfo=timezone.utc)}})
        with pytest.raises(TypeError, match="object"):
            store.add_texts(["b"], [{"x": object()}])
        with pytest.raises(ValueError, match="2 texts"):
            store.add_texts(["b", "c"], [{}])
        assert len(store.collection) == 1 and store.add_texts([]) == []
