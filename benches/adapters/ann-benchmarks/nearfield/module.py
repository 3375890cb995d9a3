"""nearfield in ann-benchmarks."""

import nearfield
import numpy as np

from ..base.module import BaseANN

METRICS = {"angular": "cosine", "euclidean": "l2", "hamming": "hamming"}


class Nearfield(BaseANN):
    """A graph, searched by `ef`. `settings`: quantization, m and ef_construction, as `nearfield.Index` takes them."""

    def __init__(self, metric, settings):
        self.metric, self.settings = METRICS[metric], settings
        self.ef = 64

    def _rows(self, vectors):
        if self.metric == "hamming":
            return np.packbits(np.asarray(vectors, bool), axis=-1)
        return np.asarray(vectors, np.float32)

    def fit(self, X):
        self.index = nearfield.Index(np.shape(X)[1], self.metric, **self.settings)
        self.index.add(np.arange(len(X)), self._rows(X))

    def set_query_arguments(self, ef):
        self.ef = ef

    def query(self, q, n):
        return self.index.search(self._rows(q), n, ef=self.ef).keys

    def batch_query(self, X, n):
        hits = self.index.search(self._rows(X), n, ef=self.ef)
        self.res = [keys[:count] for keys, count in zip(hits.keys, hits.counts)]

    def get_additional(self):
        return {"index_bytes": self.index.stats()["bytes"]["total"]}

    def done(self):
        self.index.close()

    def __str__(self):
        return f"nearfield ({self.settings}, ef {self.ef})"
