"""Settings of nearfield in VectorDBBench."""

from pydantic import BaseModel

from ..api import DBCaseConfig, DBConfig, MetricType

METRICS = {MetricType.L2: "l2", MetricType.COSINE: "cosine", MetricType.IP: "ip", MetricType.DP: "ip", MetricType.HAMMING: "hamming"}


class NearfieldConfig(DBConfig):
    """The file of the collection."""

    path: str

    def to_dict(self) -> dict:
        return {"path": self.path}


class NearfieldIndexConfig(BaseModel, DBCaseConfig):
    """Settings of a graph and of its searches."""

    metric_type: MetricType | None = None
    quantization: str = "auto"
    m: int = 16
    ef_construction: int = 200
    ef: int = 128

    def index_param(self) -> dict:
        metric = METRICS[self.metric_type or MetricType.COSINE]
        return {"metric": metric, "quantization": self.quantization, "m": self.m, "ef_construction": self.ef_construction}

    def search_param(self) -> dict:
        return {"ef": self.ef}
