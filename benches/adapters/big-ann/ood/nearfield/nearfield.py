"""nearfield in the OOD track of big-ann: queries of another kind than the vectors."""

import os

import numpy as np

from benchmark.datasets import DATASETS
from nearfield import Index, NotFoundError
from neurips23.ood.base import BaseOODANN

METRICS = {"euclidean": "l2", "ip": "ip", "angular": "cosine"}
ELEMENTS = {"float32": "f32", "uint8": "u8", "int8": "i8"}
BATCH = 500_000


class Nearfield(BaseOODANN):
    """A graph of many neighbours: queries from afar want more candidates than links."""

    def __init__(self, metric, index_params):
        self.metric, self.settings, self.ef = METRICS[metric], index_params, 128

    def _file(self, dataset):
        kept = "-".join(str(value) for value in self.settings.values())
        return os.path.join("data", "indices", "ood", f"nearfield-{DATASETS[dataset]().short_name()}-{kept}.nf")

    def fit(self, dataset):
        ds = DATASETS[dataset]()
        self.index, done = Index(ds.d, self.metric, element=ELEMENTS[ds.dtype], **self.settings), 0
        for rows in ds.get_dataset_iterator(bs=BATCH):
            self.index.add(np.arange(done, done + len(rows)), np.ascontiguousarray(rows))
            done += len(rows)
        os.makedirs(os.path.dirname(self._file(dataset)), exist_ok=True)
        self.index.save(self._file(dataset))

    def load_index(self, dataset):
        try:
            self.index = Index.load(self._file(dataset))
        except NotFoundError:
            return False
        return True

    def set_query_arguments(self, query_args):
        self.ef = query_args["ef"]

    def query(self, X, k):
        self.res = self.index.search(X, k, ef=self.ef).keys

    def __str__(self):
        return f"nearfield({self.settings}, ef={self.ef})"
