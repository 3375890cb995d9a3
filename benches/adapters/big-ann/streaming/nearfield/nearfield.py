"""nearfield in the streaming track of big-ann: insertions, removals and replacements between searches."""

import numpy as np

from nearfield import Index
from neurips23.streaming.base import BaseStreamingANN

METRICS = {"euclidean": "l2", "ip": "ip", "angular": "cosine"}
ELEMENTS = {"float32": "f32", "uint8": "u8", "int8": "i8"}


class Nearfield(BaseStreamingANN):
    """A graph that removals repair in place; the memory of removed vectors is used again."""

    def __init__(self, metric, index_params):
        self.metric, self.settings, self.ef = METRICS[metric], index_params, 128

    def setup(self, dtype, max_pts, ndims):
        self.index = Index(ndims, self.metric, element=ELEMENTS[dtype], **self.settings)

    def insert(self, X, ids):
        self.index.add(ids, np.ascontiguousarray(X))

    def delete(self, ids):
        self.index.remove(ids)

    def replace(self, X, ids):
        self.index.upsert(ids, np.ascontiguousarray(X))

    def set_query_arguments(self, query_args):
        self.ef = query_args["ef"]

    def query(self, X, k):
        hits = self.index.search(X, k, ef=self.ef)
        found = np.zeros((len(X), k), np.uint32)
        # Fewer vectors than `k` leave places without an answer.
        found[:, : hits.keys.shape[1]] = hits.keys
        self.res = found

    def __str__(self):
        return f"nearfield({self.settings}, ef={self.ef})"
