"""LlamaIndex: nodes, queries, and filters against LlamaIndex's own evaluation."""

import random

import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core.schema import ImageNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

import nearfield
from nearfield._filters import Untranslatable
from nearfield.llamaindex import NearfieldVectorStore, _accepts

VALUES = [None, 0, 1, -3, 2.5, 1.0, True, False, "", "a", "ab", "b", "2024-05-01", ["a", "b"], ["a"], [], [1, 2], {"deep": 1}, 2**70]
ASKED = [0, 1, 2.5, -3, "a", "ab", "", "2024-05-01", ["a"], ["a", "b"], [1, 2], [2.5], [], 2**70]


def nodes_of(count):
    source = random.Random(3)
    nodes = []
    for at in range(count):
        node = TextNode(id_=f"node {at}", text=f"text {at}", embedding=[source.gauss(0, 1) for _ in range(4)])
        node.metadata = {"x": VALUES[at % len(VALUES)], "y": source.choice(VALUES), "at": at, "plain": source.choice(["a", "b"]), "$odd": at}
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"document {at % 5}")
        nodes.append(node)
    return nodes


@pytest.fixture
def nodes():
    return nodes_of(60)


@pytest.fixture
def store(tmp_path, nodes):
    store = NearfieldVectorStore(tmp_path / "nodes.nf")
    assert store.query(VectorStoreQuery([1.0, 0, 0, 0])).ids == [] and store.get_nodes() == []
    assert store.add(nodes) == [node.node_id for node in nodes]
    yield store
    store.close()


def one(key, operator, value):
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)])


def test_queries_answer_as_the_simple_store(store, nodes):
    simple = SimpleVectorStore()
    simple.add(nodes)
    for node in nodes[:10]:
        query = VectorStoreQuery(node.embedding, similarity_top_k=7)
        found, expected = store.query(query), simple.query(query)
        assert found.ids == expected.ids
        assert found.similarities == pytest.approx(expected.similarities, abs=1e-5)
        assert found.nodes[0].text == node.text and found.nodes[0].metadata == node.metadata
    some = store.query(VectorStoreQuery(nodes[0].embedding, similarity_top_k=60, node_ids=["node 3", "node 8", "none"]))
    assert sorted(some.ids) == ["node 3", "node 8"]
    some = store.query(VectorStoreQuery(nodes[0].embedding, similarity_top_k=60, doc_ids=["document 2"], filters=one("at", ">", 50)))
    assert sorted(some.ids) == ["node 52", "node 57"]
    for wrong in [VectorStoreQuery(), VectorStoreQuery(nodes[0].embedding, mode=VectorStoreQueryMode.HYBRID)]:
        with pytest.raises(nearfield.InvalidInputError):
            store.query(wrong)


def test_filters_accept_what_llamaindex_accepts(store, nodes):
    compared = in_engine = 0
    for key in ["x", "y", "plain", "none", "$odd"]:
        for operator in FilterOperator:
            for value in ASKED:
                for condition in FilterCondition:
                    filters = MetadataFilters(
                        filters=[*one(key, operator, value).filters, MetadataFilter(key="at", operator=">=", value=20)],
                        condition=condition,
                    )
                    try:
                        expected = [node.node_id for node in nodes if _accepts(filters, node.metadata)]
                    except (TypeError, ValueError):
                        # LlamaIndex meets a value that it cannot compare; the engine accepts none of these.
                        continue
                    try:
                        store._predicate(filters)
                        in_engine += 1
                    except Untranslatable:
                        pass
                    assert [node.node_id for node in store.get_nodes(filters=filters)] == expected, filters
                    compared += 1
    assert compared > 600 and in_engine > 400, (compared, in_engine)


def test_nested_filters(store):
    nested = MetadataFilters(
        filters=[
            MetadataFilter(key="at", operator=FilterOperator.LT, value=10),
            MetadataFilters(filters=[*one("at", "==", 3).filters, *one("at", "==", 30).filters], condition=FilterCondition.OR),
        ]
    )
    assert [node.node_id for node in store.get_nodes(filters=nested)] == ["node 3"]


def test_nodes_are_deleted(store, nodes):
    store.delete("document 1")
    assert len(store.get_nodes()) == 48
    store.delete_nodes(["node 0", "none"])
    store.delete_nodes(filters=one("at", FilterOperator.GTE, 50))
    store.delete_nodes()
    assert len(store.get_nodes()) == 48 - 1 - 8
    store.clear()
    assert store.get_nodes() == [] and store.query(VectorStoreQuery(nodes[0].embedding)).ids == []


def test_a_store_is_opened_again(store, nodes, tmp_path):
    store.add([ImageNode(id_="image", image="AAAA", embedding=[1.0, 0, 0, 0])])
    store.close()
    again = NearfieldVectorStore(tmp_path / "nodes.nf")
    (image,) = again.get_nodes(["image"])
    assert isinstance(image, ImageNode) and image.image == "AAAA"
    assert again.get_nodes(["node 4"])[0].ref_doc_id == "document 4"
    again.close()
    with pytest.raises(nearfield.InvalidInputError, match="metric"):
        NearfieldVectorStore(tmp_path / "nodes.nf", metric="l2")
