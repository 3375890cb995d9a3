"""The adapters of `benches/adapters`, driven by the base classes and runners of the projects that they are written for.

NEARFIELD_BENCHMARKS names a folder with clones of `ann-benchmarks`, `vibe`, `big-ann-benchmarks` and `VectorDBBench`; an installed
`vectordb-bench` does for the last one.
"""

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import nearfield

ADAPTERS = Path(__file__).parents[2] / "benches" / "adapters"
CLONES = Path(os.environ.get("NEARFIELD_BENCHMARKS", "none"))


def handed_in(monkeypatch, project: str, package: str, folder: str, module: str):
    """Imports an adapter as a part of the project, as if its folder had been copied there."""
    if (CLONES / project).is_dir():
        monkeypatch.syspath_prepend(CLONES / project)
    parent = pytest.importorskip(package, reason=f"NEARFIELD_BENCHMARKS has no clone of {project}, or a package that it needs is missing")
    monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(ADAPTERS / folder)])
    return importlib.import_module(f"{package}.nearfield.{module}")


def exact(vectors, queries, k, metric="l2"):
    index = nearfield.Flat(vectors.shape[1], metric)
    index.add(np.arange(len(vectors)), vectors)
    return index.search(queries, k).keys


def recall(found, truth):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth)])


@pytest.fixture
def near(vectors):
    """Queries near the vectors."""
    random = np.random.default_rng(3)
    return (vectors[::60] + 0.1 * random.standard_normal((50, 32))).astype(np.float32)


def configuration(folder: Path) -> dict:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(next(folder.glob("config.y*ml")).read_text())


@pytest.mark.parametrize("distance", ["euclidean", "angular"])
def test_ann_benchmarks(monkeypatch, vectors, near, distance):
    module = handed_in(monkeypatch, "ann-benchmarks", "ann_benchmarks.algorithms", "ann-benchmarks", "module")
    base = importlib.import_module("ann_benchmarks.algorithms.base.module").BaseANN
    runner = pytest.importorskip("ann_benchmarks.runner", reason="a package that the runner needs is missing")
    definitions = importlib.import_module("ann_benchmarks.definitions")
    (section,) = configuration(ADAPTERS / "ann-benchmarks" / "nearfield")["float"]["any"]
    group = section["run_groups"]["codes"]
    arguments = definitions.prepare_args(group)
    assert len(arguments) == 12 and len(definitions.prepare_query_args(group)) == 13
    algorithm = getattr(module, section["constructor"])(distance, *arguments[0])
    assert isinstance(algorithm, base)
    algorithm.fit(vectors)
    algorithm.set_query_arguments(64)
    truth = exact(vectors, near, 10, {"euclidean": "l2", "angular": "cosine"}[distance])
    for batch in [False, True]:
        attributes, results = runner.run_individual_query(algorithm, vectors, near, distance, 10, 1, batch)
        assert recall([[key for key, _ in row] for _, row in results], truth) > 0.98
        assert attributes["index_bytes"] > vectors.nbytes and "ef 64" in attributes["name"]
    algorithm.done()


def test_ann_benchmarks_of_bits(monkeypatch):
    module = handed_in(monkeypatch, "ann-benchmarks", "ann_benchmarks.algorithms", "ann-benchmarks", "module")
    bits = np.random.default_rng(5).random((500, 100)) < 0.5
    algorithm = module.Nearfield("hamming", {"m": 16})
    algorithm.fit(bits)
    algorithm.set_query_arguments(100)
    assert [algorithm.query(row, 1)[0] for row in bits[:20]] == list(range(20))


def test_vibe(monkeypatch, vectors, near):
    module = handed_in(monkeypatch, "vibe", "vibe.algorithms", "vibe", "module")
    runner = importlib.import_module("vibe.runner")
    (section,) = configuration(ADAPTERS / "vibe" / "nearfield")["float"]["any"]
    arguments = {name: values[0] for name, values in section["run_groups"]["codes"]["args"].items()}
    for element in [np.float32, np.float16]:
        algorithm = module.Nearfield("euclidean", **arguments)
        assert isinstance(algorithm, importlib.import_module("vibe.algorithms.base.module").BaseANN)
        algorithm.fit(vectors.astype(element))
        algorithm.set_query_arguments(128)
        for batch in [False, True]:
            _, results = runner.run_individual_query(algorithm, vectors, near.astype(element), "euclidean", 100, 1, batch)
            found = [[key for key, _ in row] for _, row in results]
            assert recall(found, exact(vectors, near, 100)) > (0.98 if element is np.float32 else 0.95)


class Small:
    """A data set as big-ann has them."""

    dtype, d = "float32", 32

    def __init__(self, vectors, queries, tags=None, asked=None):
        self.vectors, self.queries, self.tags, self.asked, self.nb = vectors, queries, tags, asked, len(vectors)

    def short_name(self):
        return "small"

    def distance(self):
        return "euclidean"

    def get_queries(self):
        return self.queries

    def get_dataset_iterator(self, bs):
        yield from (self.vectors[first : first + bs] for first in range(0, self.nb, bs))

    def get_data_in_range(self, start, end):
        return self.vectors[start:end]

    def get_dataset_metadata(self):
        return self.tags

    def get_queries_metadata(self):
        return self.asked


def small(monkeypatch, tmp_path, *parts):
    """Makes a data set known to big-ann, and returns it."""
    monkeypatch.chdir(tmp_path)
    data = Small(*parts)
    monkeypatch.setitem(importlib.import_module("benchmark.datasets").DATASETS, "small", lambda: data)
    return data


def arguments_of(track: str, dataset: str) -> dict:
    import json

    return json.loads(configuration(ADAPTERS / "big-ann" / track / "nearfield")[dataset]["nearfield"]["run-groups"]["base"]["args"])[0]


def test_big_ann_of_another_kind(monkeypatch, tmp_path, vectors, near):
    module = handed_in(monkeypatch, "big-ann-benchmarks", "neurips23.ood", "big-ann/ood", "nearfield")
    runner = importlib.import_module("benchmark.algorithms.base_runner").BaseRunner
    data = small(monkeypatch, tmp_path, vectors, near)
    algorithm = module.Nearfield("euclidean", arguments_of("ood", "random-xs"))
    assert not algorithm.load_index("small")
    runner.build(algorithm, "small")
    algorithm.set_query_arguments({"ef": 64})
    attributes, found = runner.run_task(algorithm, data, data.distance(), 10, 1, "knn", False)
    assert recall(found, exact(vectors, near, 10)) > 0.98 and "ef=64" in attributes["name"]
    again = module.Nearfield("euclidean", arguments_of("ood", "random-xs"))
    assert again.load_index("small")
    again.query(near, 10)
    assert recall(again.get_results(), exact(vectors, near, 10)) > 0.98


def test_big_ann_with_filters(monkeypatch, tmp_path, vectors, near):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    module = handed_in(monkeypatch, "big-ann-benchmarks", "neurips23.filter", "big-ann/filter", "nearfield")
    runner = importlib.import_module("neurips23.filter.run").FilterRunner
    random = np.random.default_rng(9)
    tags = random.random((len(vectors), 12)) < np.linspace(0.5, 0.01, 12)
    asked = np.zeros((len(near), 12), bool)
    for row in asked:
        row[random.choice(12, random.integers(1, 3), replace=False)] = True
    data = small(monkeypatch, tmp_path, vectors, near, sparse.csr_matrix(tags), sparse.csr_matrix(asked))
    monkeypatch.setattr(module, "FREQUENT", 1000)
    algorithm = module.Nearfield("euclidean", arguments_of("filter", "random-filter-s") | {"threads": 2})
    runner.build(algorithm, "small")
    assert algorithm.sets and algorithm.load_index("small")
    algorithm.set_query_arguments({"ef": 64})
    _, found = runner.run_task(algorithm, data, data.distance(), 10, 1, "knn_filtered", False)
    for query, wanted, row in zip(near, asked, found):
        allowed = np.flatnonzero((tags | ~wanted).all(axis=1))
        nearest = allowed[np.argsort(((vectors[allowed] - query) ** 2).sum(axis=1))][:10]
        assert len(np.intersect1d(nearest, row[: len(nearest)])) >= 0.8 * len(nearest)


def test_big_ann_of_streams(monkeypatch, tmp_path, vectors, near):
    module = handed_in(monkeypatch, "big-ann-benchmarks", "neurips23.streaming", "big-ann/streaming", "nearfield")
    runner = importlib.import_module("neurips23.streaming.run").StreamingRunner
    data = small(monkeypatch, tmp_path, vectors, near)
    algorithm = module.Nearfield("euclidean", arguments_of("streaming", "random-xs"))
    monkeypatch.setitem(importlib.import_module("neurips23.streaming.run").DATASETS, "small", lambda: data)
    runner.build(algorithm, "small", len(vectors))
    algorithm.set_query_arguments({"ef": 64})
    runbook = [
        {"operation": "insert", "start": 0, "end": 2000},
        {"operation": "search"},
        {"operation": "delete", "start": 0, "end": 1000},
        {"operation": "insert", "start": 2000, "end": 3000},
        {"operation": "replace", "tags_start": 1000, "tags_end": 1500, "ids_start": 0, "ids_end": 500},
        {"operation": "search"},
    ]
    _, (first, last) = runner.run_task(algorithm, data, data.distance(), 10, 1, "knn", False, runbook)
    assert recall(first, exact(vectors[:2000], near, 10)) > 0.98
    kept = np.concatenate([vectors[:500], vectors[1500:]])
    assert recall(last, 1000 + exact(kept, near, 10).astype(np.int64)) > 0.98


def test_vectordbbench(monkeypatch, tmp_path, vectors, near):
    monkeypatch.setenv("LOG_FILE", str(tmp_path / "vectordb_bench.log"))
    module = handed_in(monkeypatch, "VectorDBBench", "vectordb_bench.backend.clients", "vectordbbench", "nearfield")
    settings = importlib.import_module("vectordb_bench.backend.clients.nearfield.config")
    api = importlib.import_module("vectordb_bench.backend.clients.api")
    filters = importlib.import_module("vectordb_bench.backend.filter")
    assert issubclass(module.Nearfield, api.VectorDB)
    config = settings.NearfieldConfig(db_label="test", path=str(tmp_path / "vdb.nf"))
    case = settings.NearfieldIndexConfig(metric_type=api.MetricType.L2)
    labels = np.array(["label_50p", "label_5p"])[(np.arange(3000) % 20 == 0).astype(int)]

    writer = module.Nearfield(32, config.to_dict(), case, drop_old=True, with_scalar_labels=True)
    with writer.init():
        for first in range(0, 3000, 1000):
            rows = slice(first, first + 1000)
            done = writer.insert_embeddings(vectors[rows].tolist(), list(range(3000))[rows], labels[rows].tolist())
            assert done == (1000, None)
        writer.optimize(3000)

    cases = [
        (filters.non_filter, np.ones(3000, bool)),
        (filters.IntFilter(filter_rate=0.99, int_value=2970), np.arange(3000) >= 2970),
        (filters.LabelFilter(label_percentage=0.05), labels == "label_5p"),
    ]
    for kind, allowed in cases:
        assert module.Nearfield.filter_supported(kind)
        searcher = module.Nearfield(32, config.to_dict(), case, with_scalar_labels=True)
        searcher.prepare_filter(kind)
        with searcher.init():
            searcher.prepare_filter(kind)
            found = [searcher.search_embedding(query.tolist(), 10) for query in near]
        keys = np.flatnonzero(allowed)
        assert recall(found, keys[exact(vectors[keys], near, 10).astype(np.int64)]) > 0.98
