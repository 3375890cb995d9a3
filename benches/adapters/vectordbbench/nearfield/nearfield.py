"""nearfield in VectorDBBench: a collection in one file, in the process of the benchmark."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nearfield import Collection, Error
from vectordb_bench.backend.filter import Filter, FilterOp

from ..api import DBCaseConfig, VectorDB

ID, LABEL = "id", "labels"


class Nearfield(VectorDB):
    """One process writes the file; the processes that search open it for reading."""

    name = "nearfield"
    supported_filter_types = [FilterOp.NonFilter, FilterOp.NumGE, FilterOp.StrEqual]
    thread_safe = True

    def __init__(
        self,
        dim: int,
        db_config: dict,
        db_case_config: DBCaseConfig | None,
        collection_name: str = "vdbbench",
        drop_old: bool = False,
        with_scalar_labels: bool = False,
        **kwargs,
    ) -> None:
        self.path = Path(db_config["path"])
        self.settings = db_case_config.index_param()
        self.options = db_case_config.search_param()
        self.dim, self.with_labels = dim, with_scalar_labels
        self.predicate, self.selection, self.collection = None, None, None
        self.is_searched = False
        if drop_old:
            self.path.unlink(missing_ok=True)
            Collection(self.path, dim, **self.settings).close()

    @contextmanager
    def init(self):
        """Opens the file: for reading once a filter was prepared, as searches do, for writing before."""
        self.collection = Collection(self.path, read_only=True) if self.is_searched else Collection(self.path)
        try:
            yield
        finally:
            self.collection.close()
            self.collection, self.selection = None, None

    def insert_embeddings(
        self,
        embeddings: list[list[float]],
        metadata: list[int],
        labels_data: list[str] | None = None,
        tenant_labels_data: list[str] | None = None,
        **kwargs,
    ) -> tuple[int, Exception | None]:
        described = [{ID: int(key)} for key in metadata]
        if self.with_labels:
            for attributes, label in zip(described, labels_data, strict=True):
                attributes[LABEL] = label
        try:
            with self.collection.write(durability="eventual") as tx:
                tx.upsert(np.asarray(metadata, np.uint64), np.asarray(embeddings, np.float32), attributes=described)
        except Error as error:
            return 0, error
        return len(metadata), None

    def optimize(self, data_size: int | None = None) -> None:
        self.collection.checkpoint()

    def prepare_filter(self, filters: Filter) -> None:
        """Evaluates the filter once: all searches of a case have the same one."""
        self.is_searched = True
        if filters.type == FilterOp.NonFilter:
            self.predicate = None
        elif filters.type == FilterOp.NumGE:
            self.predicate = {ID: {"$gte": filters.int_value}}
        elif filters.type == FilterOp.StrEqual:
            self.predicate = {LABEL: filters.label_value}
        else:
            raise ValueError(f"nearfield has no filter of the type {filters.type}")
        self.selection = None
        # The first of two calls comes before `init`.
        if self.predicate is not None and self.collection is not None:
            self.selection = self.collection.matching(self.predicate)

    def search_embedding(self, query: list[float], k: int = 100, payload_profile=None, tenant: str | None = None) -> list[int]:
        hits = self.collection.search(np.asarray(query, np.float32), k, filter=self.selection or self.predicate, **self.options)
        return hits.keys.tolist()
