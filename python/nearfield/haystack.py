"""Haystack's document store over a collection: `pip install nearfield[haystack]`.

    store = NearfieldDocumentStore("documents.nf", embedding_dim=384)
    store.write_documents([Document(content="The sky is blue.", meta={"year": 2024}, embedding=...)])
    store.filter_documents({"field": "meta.year", "operator": ">=", "value": 2020})

Filters run in the engine, on an index of the metadata. Those on other fields than metadata, on lists, or on values that are no attributes, run
in Haystack, over all documents. Comparisons by order find numbers beside a number, and dates in ISO form beside a date; other values are left
out, where Haystack would refuse the filter. `Pipeline.loads` needs `allowed_modules=["nearfield.haystack"]`.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from haystack import component, default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils.filters import document_matches_filter

from . import Collection, InvalidInputError, Record
from ._documents import pack, rows, unpack
from ._filters import Untranslatable, typed_attributes
from ._haystack_filters import translate

EMBEDDED = {"@embedded": True}


class NearfieldDocumentStore:
    """Documents in a collection. A document without an embedding is stored as well, and found by filters alone."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        embedding_dim: int = 768,
        *,
        metric: str = "cosine",
        **settings: Any,
    ) -> None:
        """Opens the collection at `path`, or makes it. `metric` and `settings` are those of `nearfield.Collection`."""
        self._path = os.fspath(path)
        self._dimension, self._metric, self._settings = embedding_dim, metric, settings
        self._opening = threading.Lock()
        self._opened: Collection | None = None

    @property
    def collection(self) -> Collection:
        """The collection, opened by the first use."""
        with self._opening:
            if self._opened is None:
                self._opened = Collection(self._path, self._dimension, self._metric, **self._settings)  # type: ignore[arg-type]
            return self._opened

    def close(self) -> None:
        """Closes the collection; the next use opens it again."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def __enter__(self) -> NearfieldDocumentStore:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings of the store."""
        return default_to_dict(self, path=self._path, embedding_dim=self._dimension, metric=self._metric, **self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearfieldDocumentStore:
        """Returns a store of these settings."""
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        """Returns the number of documents."""
        return len(self.collection)

    @staticmethod
    def _document(record: Record) -> Document | None:
        if record.payload is None:
            return None
        data, embedding = unpack(record.payload)
        return Document.from_dict({**data, "embedding": embedding})

    def _documents(self, keys: npt.NDArray[np.uint64]) -> list[Document]:
        found = [self._document(record) for record in self.collection.records(keys)]
        return [document for document in found if document is not None]

    def _keys(self, filters: dict[str, Any] | None) -> npt.NDArray[np.uint64]:
        """Returns the keys of the documents that a filter accepts, in the order in which their ids were first written."""
        if not filters:
            return np.sort(self.collection.keys())
        try:
            return self.collection.matching(self._predicate(filters)).keys()
        except Untranslatable:
            keys = np.sort(self.collection.keys())
            records = zip(keys, map(self._document, self.collection.records(keys)))
            accepted = [key for key, document in records if document is not None and document_matches_filter(filters, document)]
            return np.asarray(accepted, np.uint64)

    def _predicate(self, filters: dict[str, Any]) -> dict[str, Any]:
        opaque = frozenset(name for name, _ in self.collection.facet("@opaque"))
        return translate(filters, opaque)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Returns the documents that a filter accepts, in the order in which their ids were first written."""
        return self._documents(self._keys(filters))

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Writes documents in one commit. Returns their number. An id that exists is refused, unless the policy skips or overwrites it."""
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise ValueError("write_documents takes a list of Documents")
        with self.collection.write() as tx:
            written: dict[str, Document] = {}
            for document in documents:
                if document.id in written or document.id in tx:
                    if policy == DuplicatePolicy.SKIP:
                        continue
                    if policy != DuplicatePolicy.OVERWRITE:
                        raise DuplicateDocumentError(f"ID '{document.id}' already exists.")
                written[document.id] = document
            if written:
                self._put(tx, list(written.values()))
            return len(written)

    def _put(self, tx: Any, documents: list[Document]) -> None:
        # A vector for documents that have none: searches leave it out.
        none = np.zeros(self._dimension, np.float32)
        none[0] = 1
        vectors, payloads, attributes = np.tile(none, (len(documents), 1)), [], []
        for at, document in enumerate(documents):
            data = document.to_dict(flatten=False)
            embedding = data.pop("embedding", None)
            if embedding is not None:
                if len(embedding) != self._dimension:
                    found = len(embedding)
                    raise InvalidInputError(f"the embedding of {document.id!r} has {found} components; the store has {self._dimension}")
                vectors[at] = rows([embedding])[0]
            payloads.append(pack(data, embedding))
            attributes.append({**typed_attributes(document.meta), "@embedded": embedding is not None})
        tx.upsert([document.id for document in documents], vectors, payload=payloads, attributes=attributes)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Deletes the documents of these ids; ids without a document are left out."""
        with self.collection.write() as tx:
            tx.remove(list(document_ids))

    def delete_all_documents(self) -> None:
        """Deletes all documents."""
        with self.collection.write() as tx:
            tx.remove(self.collection.keys())

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Deletes the documents that a filter accepts. Returns their number."""
        with self.collection.write() as tx:
            return int(tx.remove(self._keys(filters)))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Sets metadata of the documents that a filter accepts. Returns their number."""
        with self.collection.write() as tx:
            documents = [
                replace(document, meta={**document.meta, **meta}) for document in self._documents(self._keys(filters))
            ]
            if documents:
                self._put(tx, documents)
            return len(documents)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Returns the number of documents that a filter accepts."""
        return len(self._keys(filters))

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = True,
    ) -> list[Document]:
        """Returns the documents nearest to an embedding, each with its score: the cosine, the inner product, or the negated squared distance.

        `scale_score`: scores from 0 to 1.
        """
        select: Any = EMBEDDED
        if filters:
            try:
                select = {"$and": [EMBEDDED, self._predicate(filters)]}
            except Untranslatable:
                select = np.intersect1d(self._keys(filters), self.collection.matching(EMBEDDED).keys())
        hits = self.collection.search(rows([query_embedding])[0], k=top_k, ef=max(64, 2 * top_k), filter=select)
        found = []
        for record, distance in zip(self.collection.records(hits.keys), hits.distances.tolist()):
            document = self._document(record)
            if document is not None:
                embedding = document.embedding if return_embedding else None
                found.append(replace(document, score=self._score(distance, scale_score), embedding=embedding))
        return found

    def _score(self, distance: float, scale: bool) -> float:
        if self._metric == "cosine":
            return 1 - distance / 2 if scale else 1 - distance
        if self._metric == "ip":
            return float(1 / (1 + np.exp(distance / 100))) if scale else -distance
        return 1 / (1 + distance) if scale else -distance


@component
class NearfieldEmbeddingRetriever:
    """Retrieves the documents nearest to an embedding."""

    def __init__(
        self,
        document_store: NearfieldDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = False,
    ) -> None:
        self.document_store, self.filters, self.top_k = document_store, filters, top_k
        self.scale_score, self.return_embedding = scale_score, return_embedding

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings of the retriever and of its store."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            scale_score=self.scale_score,
            return_embedding=self.return_embedding,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NearfieldEmbeddingRetriever:
        """Returns a retriever of these settings."""
        store = data["init_parameters"]["document_store"]
        if isinstance(store, dict):
            data["init_parameters"]["document_store"] = NearfieldDocumentStore.from_dict(store)
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(
        self, query_embedding: list[float], filters: dict[str, Any] | None = None, top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Returns the documents nearest to an embedding."""
        documents = self.document_store.embedding_retrieval(
            query_embedding,
            filters=filters or self.filters,
            top_k=top_k or self.top_k,
            scale_score=self.scale_score,
            return_embedding=self.return_embedding,
        )
        return {"documents": documents}
