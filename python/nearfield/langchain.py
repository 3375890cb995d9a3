"""LangChain's vector store over a collection: `pip install nearfield[langchain]`.

    store = NearfieldVectorStore(embeddings, "documents.nf")
    store.add_texts(["The sky is blue."], [{"year": 2024}], ids=["sky"])
    store.similarity_search("What colour has the sky?", k=1, filter={"year": {"$gte": 2020}})

The text of a document is the payload of its id, metadata are attributes: numbers, bools, texts, datetimes and lists of texts select documents,
also in dicts (`{"author.name": "Ada"}`); other metadata come back, but select nothing. Metadata are what JSON has, datetimes and bytes.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from . import Collection, InvalidInputError
from ._documents import attributes, pack, rows, unpack

Filter = dict[str, Any] | str | Callable[[Document], bool]


class NearfieldVectorStore(VectorStore):
    """Documents in a collection, found by their embeddings."""

    def __init__(
        self,
        embedding: Embeddings,
        path: str | os.PathLike[str],
        *,
        metric: str = "cosine",
        **settings: Any,
    ) -> None:
        """Opens the collection at `path`, or makes it with the first document: its dimension is that of the embeddings.

        `metric` and `settings` are those of `nearfield.Collection`.
        """
        self._embedding = embedding
        self._path = os.fspath(path)
        self._settings: dict[str, Any] = {"metric": metric, **settings}
        self._making = threading.Lock()
        self._collection: Collection | None = None
        if os.path.exists(self._path) and os.path.getsize(self._path) > 0:
            self._collection = Collection(self._path)
            if self._collection.metric != metric:
                found = self._collection.metric
                self._collection.close()
                raise InvalidInputError(f"metric is {metric!r}, and that of the collection {self._path} is {found!r}")

    @property
    def collection(self) -> Collection | None:
        """The collection; None before the first document."""
        return self._collection

    @property
    def embeddings(self) -> Embeddings:
        return self._embedding

    def close(self) -> None:
        """Closes the collection."""
        if self._collection is not None:
            self._collection.close()

    def __enter__(self) -> NearfieldVectorStore:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _made(self, dimension: int) -> Collection:
        with self._making:
            if self._collection is None:
                self._collection = Collection(self._path, dimension, **self._settings)
            return self._collection

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[Any, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Adds texts, or replaces those of the same ids, in one commit. Returns their ids."""
        texts = list(texts)
        metadatas = [{} for _ in texts] if metadatas is None else metadatas
        ids = [None for _ in texts] if ids is None else ids
        if not len(texts) == len(metadatas) == len(ids):
            raise ValueError(f"{len(texts)} texts, {len(metadatas)} metadatas and {len(ids)} ids: as many are needed of each")
        if not texts:
            return []
        names = [str(uuid.uuid4()) if name is None else name for name in ids]
        vectors = rows(self._embedding.embed_documents(texts))
        payloads = [pack({"text": text, "metadata": metadata}) for text, metadata in zip(texts, metadatas)]
        with self._made(vectors.shape[1]).write() as tx:
            tx.upsert(names, vectors, payload=payloads, attributes=[attributes(metadata) for metadata in metadatas])
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Deletes the documents of these ids, or all of them for None. Ids without a document are left out."""
        if self._collection is not None:
            with self._collection.write() as tx:
                tx.remove(self._collection.keys() if ids is None else list(ids))
        return True

    @staticmethod
    def _document(payload: bytes, name: str | bytes | None) -> Document:
        record, _ = unpack(payload)
        return Document(page_content=record["text"], metadata=record["metadata"], id=name if isinstance(name, str) else None)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Returns the documents of these ids, without those that are missing."""
        if self._collection is None:
            return []
        records = [self._collection.record(name) for name in ids]
        return [
            self._document(record.payload, record.name) for record in records if record is not None and record.payload is not None
        ]

    def _found(self, embedding: Sequence[float], k: int, filter: Filter | None) -> list[tuple[Document, float, int]]:
        """Returns the nearest documents, their distances and keys."""
        collection = self._collection
        if collection is None or k < 1:
            return []
        select: Any = filter
        if callable(filter):
            function = filter

            def select(key: int) -> bool:
                record = collection.record(key)
                return record is not None and record.payload is not None and function(self._document(record.payload, record.name))

        keys, distances = collection.search(rows([embedding])[0], k=k, ef=max(64, 2 * k), filter=select)
        found = []
        for record, distance in zip(collection.records(keys), distances.tolist()):
            # A document that was deleted since the search has no payload.
            if record.payload is not None:
                found.append((self._document(record.payload, record.name), distance, record.key))
        return found

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """Returns the documents nearest to a text. `filter`: a predicate, as a dict or a text, or a function of a document."""
        return self.similarity_search_by_vector(self._embedding.embed_query(query), k, filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """Returns the documents nearest to an embedding."""
        return [document for document, _, _ in self._found(embedding, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Returns the documents nearest to a text, and their distances: less is nearer (squared under "l2")."""
        found = self._found(self._embedding.embed_query(query), k, filter)
        return [(document, distance) for document, distance, _ in found]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        metric = self._settings["metric"]
        if metric == "cosine":
            return lambda distance: 1 - distance / 2
        if metric == "ip":
            return lambda distance: (1 - distance) / 2
        return lambda distance: 1 / (1 + distance)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns documents that are near to a text, and unlike one another."""
        embedding = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(embedding, k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Returns documents that are near to an embedding, and unlike one another."""
        found = self._found(embedding, fetch_k, filter)
        vectors = [(document, self._collection.get(key)) for document, _, key in found] if self._collection else []
        kept = [(document, vector) for document, vector in vectors if vector is not None]
        chosen = maximal_marginal_relevance(np.asarray(embedding), [vector.tolist() for _, vector in kept], lambda_mult, k)
        return [kept[at][0] for at in chosen]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[Any, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> NearfieldVectorStore:
        """Opens the store at `path`, and adds texts."""
        if path is None:
            raise ValueError("from_texts needs the `path` of the collection")
        store = cls(embedding, path, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store
