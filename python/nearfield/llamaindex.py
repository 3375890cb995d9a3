"""LlamaIndex's vector store over a collection: `pip install nearfield[llamaindex]`.

    store = NearfieldVectorStore("nodes.nf")
    index = VectorStoreIndex.from_documents(documents, storage_context=StorageContext.from_defaults(vector_store=store))

A node is the payload of its id; its metadata are attributes. Filters run in the engine, on an index of the metadata; those of substrings, and
those on values that are no attributes, run in LlamaIndex, over all nodes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn, metadata_dict_to_node, node_to_metadata_dict

from . import Collection, InvalidInputError, Record
from ._documents import is_field, pack, rows, unpack
from ._filters import Leaf, Predicate, Untranslatable, all_of, any_of, equal, on, ordered, typed_attributes

ORDERS = {
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
}


class _Fields:
    """The fields that a filter cannot ask the engine for."""

    def __init__(self, collection: Collection) -> None:
        self.opaque = {name for name, _ in collection.facet("@opaque")}
        self.kinds = {kind for kind, _ in collection.facet("@kinds")}

    def has(self, kind: str, name: str) -> bool:
        return f"{kind}:{name}" in self.kinds


def _listed(name: str, operator: FilterOperator, value: Any, fields: _Fields) -> Leaf:
    """Returns a comparison with the texts of a list. In a text LlamaIndex looks for parts, which the engine does not."""
    texts = [value] if operator == FilterOperator.CONTAINS else value
    if not isinstance(texts, list) or not texts or fields.has("text", name) or not all(isinstance(text, str) for text in texts):
        raise Untranslatable
    condition: dict[str, Any] = {"$has": value}
    if operator != FilterOperator.CONTAINS:
        condition = {"$any" if operator == FilterOperator.ANY else "$all": texts}
    return Leaf.known("texts", name, condition)


def _comparison(part: MetadataFilter, fields: _Fields) -> Leaf:
    name, operator, value = part.key, part.operator, part.value
    if not is_field(name) or "." in name or name[:200] in fields.opaque:
        raise Untranslatable
    if operator == FilterOperator.IS_EMPTY:
        return any_of([Leaf.missing(name), Leaf.known("text", name, {"$eq": ""})])
    if operator in {FilterOperator.EQ, FilterOperator.NE}:
        if fields.has("texts", name) and isinstance(value, list):
            raise Untranslatable
        leaf = Leaf.of(False) if value is None else equal(name, value)
        return leaf if operator == FilterOperator.EQ else ~leaf
    if operator in {FilterOperator.IN, FilterOperator.NIN}:
        if not isinstance(value, list):
            raise Untranslatable
        leaf = any_of(equal(name, each) for each in value)
        return leaf if operator == FilterOperator.IN else ~leaf
    if operator in ORDERS and isinstance(value, str):
        return Leaf.known("text", name, {ORDERS[operator]: value})
    if operator in ORDERS:
        return ordered(name, ORDERS[operator], value)
    if operator in {FilterOperator.CONTAINS, FilterOperator.ANY, FilterOperator.ALL}:
        return _listed(name, operator, value, fields)
    raise Untranslatable


def _translated(filters: MetadataFilters, fields: _Fields) -> Leaf:
    parts = [
        _translated(part, fields) if isinstance(part, MetadataFilters) else _comparison(part, fields) for part in filters.filters
    ]
    if not parts:
        return Leaf.of(True)
    if filters.condition == FilterCondition.NOT:
        return ~any_of(parts)
    return any_of(parts) if filters.condition == FilterCondition.OR else all_of(parts)


def _accepts(filters: MetadataFilters, metadata: dict[str, Any]) -> bool:
    """Returns whether LlamaIndex accepts metadata."""
    parts = [
        _accepts(part, metadata)
        if isinstance(part, MetadataFilters)
        else build_metadata_filter_fn(lambda _: metadata, MetadataFilters(filters=[part]))("")
        for part in filters.filters
    ]
    if filters.condition == FilterCondition.NOT:
        return not any(parts)
    return any(parts) if filters.condition == FilterCondition.OR and parts else all(parts)


class NearfieldVectorStore(BasePydanticVectorStore):
    """Nodes in a collection, found by their embeddings."""

    stores_text: bool = True
    path: str
    metric: str = "cosine"
    settings: dict[str, Any] = {}

    _making: Any = PrivateAttr()
    _collection: Any = PrivateAttr()

    def __init__(self, path: str | os.PathLike[str], *, metric: str = "cosine", **settings: Any) -> None:
        """Opens the collection at `path`, or makes it with the first node: its dimension is that of the embeddings.

        `metric` and `settings` are those of `nearfield.Collection`.
        """
        super().__init__(path=os.fspath(path), metric=metric, settings=settings)  # type: ignore[call-arg]
        self._making = threading.Lock()
        self._collection = None
        if os.path.exists(self.path) and os.path.getsize(self.path) > 0:
            self._collection = Collection(self.path)
            if self._collection.metric != metric:
                found = self._collection.metric
                self._collection.close()
                raise InvalidInputError(f"metric is {metric!r}, and that of the collection {self.path} is {found!r}")

    @classmethod
    def class_name(cls) -> str:
        return "NearfieldVectorStore"

    @property
    def client(self) -> Collection | None:
        """The collection; None before the first node."""
        found: Collection | None = self._collection
        return found

    def close(self) -> None:
        """Closes the collection."""
        if self._collection is not None:
            self._collection.close()

    def _made(self, dimension: int) -> Collection:
        with self._making:
            if self._collection is None:
                self._collection = Collection(self.path, dimension, self.metric, **self.settings)  # type: ignore[arg-type]
            made: Collection = self._collection
            return made

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Adds nodes with their embeddings, or replaces those of the same ids, in one commit. Returns their ids."""
        if not nodes:
            return []
        vectors = rows([node.get_embedding() for node in nodes])
        payloads, attributes = [], []
        for node in nodes:
            payloads.append(pack(node_to_metadata_dict(node, remove_text=False)))
            flat = {name: value for name, value in node.metadata.items() if name not in {"ref_doc_id", "doc_id", "document_id"}}
            attributes.append({**typed_attributes(flat), "@ref": node.ref_doc_id or "None"})
        with self._made(vectors.shape[1]).write() as tx:
            tx.upsert([node.node_id for node in nodes], vectors, payload=payloads, attributes=attributes)
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        if self._collection is not None:
            with self._collection.write() as tx:
                tx.remove_where({"@ref": ref_doc_id})

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any) -> None:
        """Deletes the nodes of these ids that a filter accepts; with neither, none."""
        if self._collection is not None and (node_ids is not None or filters is not None):
            with self._collection.write() as tx:
                tx.remove(self._keys(node_ids, filters))

    def clear(self) -> None:
        """Deletes all nodes."""
        if self._collection is not None:
            with self._collection.write() as tx:
                tx.remove(self._collection.keys())

    @staticmethod
    def _node(record: Record) -> BaseNode | None:
        return None if record.payload is None else metadata_dict_to_node(unpack(record.payload)[0])

    def _predicate(self, filters: MetadataFilters) -> Predicate:
        return _translated(filters, _Fields(self._collection)).yes

    def _keys(self, node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> npt.NDArray[np.uint64]:
        """Returns the keys of nodes, in the order in which their ids were first added."""
        collection: Collection = self._collection
        if filters is None or not filters.filters:
            keys = np.sort(collection.keys())
        else:
            try:
                keys = collection.matching(self._predicate(filters)).keys()
            except Untranslatable:
                keys = np.sort(collection.keys())
                nodes = zip(keys, map(self._node, collection.records(keys)))
                keys = np.asarray([key for key, node in nodes if node is not None and _accepts(filters, node.metadata)], np.uint64)
        if node_ids is not None:
            named = [collection.key_of(name) for name in node_ids]
            keys = np.intersect1d(keys, np.asarray([key for key in named if key is not None], np.uint64))
        return keys

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Returns the nodes of these ids that a filter accepts."""
        if self._collection is None:
            return []
        nodes = map(self._node, self._collection.records(self._keys(node_ids, filters)))
        return [node for node in nodes if node is not None]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Returns the nodes nearest to an embedding, and their similarities: the cosine, the product, or 1 / (1 + squared distance)."""
        if query.mode != VectorStoreQueryMode.DEFAULT:
            raise InvalidInputError(f"query mode {query.mode.value!r} is not supported; allowed: 'default'")
        if query.query_embedding is None:
            raise InvalidInputError("the query has no embedding")
        collection = self._collection
        if collection is None or query.similarity_top_k < 1:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        select: Any = None
        if query.filters is not None and query.filters.filters and query.node_ids is None:
            try:
                select = self._predicate(query.filters)
            except Untranslatable:
                select = self._keys(None, query.filters)
        elif query.node_ids is not None:
            select = self._keys(query.node_ids, query.filters)
        if query.doc_ids is not None:
            documents: Predicate = on("@ref", {"$in": list(query.doc_ids)})
            if select is None:
                select = documents
            elif isinstance(select, dict):
                select = {"$and": [select, documents]}
            else:
                select = np.intersect1d(select, collection.matching(documents).keys())
        k = query.similarity_top_k
        keys, distances = collection.search(rows([query.query_embedding])[0], k=k, ef=max(64, 2 * k), filter=select)
        result = VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        for record, distance in zip(collection.records(keys), distances.tolist()):
            node = self._node(record)
            if node is not None:
                result.nodes.append(node)  # type: ignore[union-attr]
                result.similarities.append(self._similarity(distance))  # type: ignore[union-attr]
                result.ids.append(node.node_id)  # type: ignore[union-attr]
        return result

    def _similarity(self, distance: float) -> float:
        if self.metric == "cosine":
            return 1 - distance
        return -distance if self.metric == "ip" else 1 / (1 + distance)
