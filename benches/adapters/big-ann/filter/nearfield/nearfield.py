"""nearfield in the filter track of big-ann: neighbours that have all tags of the query."""

import os
from multiprocessing.pool import ThreadPool

import numpy as np

from benchmark.datasets import DATASETS
from nearfield import Index, KeySet, NotFoundError
from neurips23.filter.base import BaseFilterANN

METRICS = {"euclidean": "l2", "ip": "ip", "angular": "cosine"}
ELEMENTS = {"float32": "f32", "uint8": "u8", "int8": "i8"}
BATCH = 500_000

# Tags of as many vectors have a set that is made once.
FREQUENT = 10_000


class Nearfield(BaseFilterANN):
    """A graph, and for each tag the keys of its vectors: the index plans whether it walks or scans by their number."""

    def __init__(self, metric, index_params):
        self.metric, self.ef = METRICS[metric], 64
        self.threads = index_params.get("threads", os.cpu_count())
        self.settings = {name: value for name, value in index_params.items() if name != "threads"}

    def _file(self, dataset):
        kept = "-".join(str(value) for value in self.settings.values())
        return os.path.join("data", "indices", "filter", f"nearfield-{DATASETS[dataset]().short_name()}-{kept}.nf")

    def _read_tags(self, ds):
        # By column: the vectors of a tag, ascending.
        columns = ds.get_dataset_metadata().tocsc()
        columns.sort_indices()
        self.vectors, self.bounds = columns.indices.astype(np.uint64), columns.indptr
        frequent = np.flatnonzero(np.diff(self.bounds) >= FREQUENT)
        self.sets = {int(tag): KeySet(self._keys(tag)) for tag in frequent}

    def _keys(self, tag):
        return self.vectors[self.bounds[tag] : self.bounds[tag + 1]]

    def fit(self, dataset):
        ds = DATASETS[dataset]()
        self.index, done = Index(ds.d, self.metric, element=ELEMENTS[ds.dtype], **self.settings), 0
        for rows in ds.get_dataset_iterator(bs=BATCH):
            self.index.add(np.arange(done, done + len(rows)), np.ascontiguousarray(rows))
            done += len(rows)
        os.makedirs(os.path.dirname(self._file(dataset)), exist_ok=True)
        self.index.save(self._file(dataset))
        self._read_tags(ds)

    def load_index(self, dataset):
        try:
            self.index = Index.load(self._file(dataset))
        except NotFoundError:
            return False
        self._read_tags(DATASETS[dataset]())
        return True

    def set_query_arguments(self, query_args):
        self.ef = query_args["ef"]

    def query(self, X, k):
        self.res = self.index.search(X, k, ef=self.ef, threads=self.threads).keys

    def _filter(self, tags):
        if len(tags) == 1 and int(tags[0]) in self.sets:
            return self.sets[int(tags[0])]
        # The rarest first.
        first, *others = sorted((self._keys(tag) for tag in tags), key=len)
        for keys in others:
            first = np.intersect1d(first, keys, assume_unique=True)
        return first

    def filtered_query(self, X, filter, k):
        found = np.zeros((len(X), k), np.uint32)

        def answer(at):
            tags = filter.indices[filter.indptr[at] : filter.indptr[at + 1]]
            keys = self.index.search(X[at], k, ef=self.ef, filter=self._filter(tags)).keys
            found[at, : len(keys)] = keys

        with ThreadPool(self.threads) as pool:
            pool.map(answer, range(len(X)))
        self.res = found

    def __str__(self):
        return f"nearfield({self.settings}, ef={self.ef})"
