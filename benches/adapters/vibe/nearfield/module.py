"""nearfield in VIBE."""

import nearfield
import numpy as np

from ..base.module import BaseANN

METRICS = {"ip": "ip", "normalized": "cosine", "cosine": "cosine", "euclidean": "l2", "hamming": "hamming"}
ELEMENTS = {"float32": "f32", "float16": "f16", "int8": "i8", "uint8": "u8"}


class Nearfield(BaseANN):
    """A graph with codes, searched by `ef`."""

    def __init__(self, metric, quantization, m, ef_construction):
        self.metric = METRICS[metric]
        self.settings = {"quantization": quantization, "m": m, "ef_construction": ef_construction}

    def fit(self, X):
        element = "bit" if self.metric == "hamming" else ELEMENTS[X.dtype.name]
        # Rows of bits are packed, eight to a byte.
        dimension = X.shape[1] * 8 if element == "bit" else X.shape[1]
        self.index = nearfield.Index(dimension, self.metric, element=element, **self.settings)
        self.index.add(np.arange(len(X)), X)

    def set_query_arguments(self, ef):
        self.ef = ef

    def query(self, v, n):
        return self.index.search(v, n, ef=self.ef).keys

    def batch_query(self, X, n):
        self.res = self.index.search(X, n, ef=self.ef).keys

    def __str__(self):
        return f"nearfield({self.settings}, ef={self.ef})"
