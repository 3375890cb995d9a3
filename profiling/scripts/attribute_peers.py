"""Filtered searches of embedded databases beside one another, on the vectors of a data set: QPS on one thread at a recall.

    python attribute_peers.py DIR [--peers sqlite-vec,duckdb,lancedb,qdrant-edge,nearfield] [--recall .95] [--queries 200] [--json FILE]

DIR has `base.f16bin`, `query.f16bin` and `meta.json`. Each vector gets a tenant (one of 20), a year (1990 to 2025) and a score (0 to 1, all different),
as in `cargo bench --bench attributes`. Each peer has them as typed columns, with its index on them if it has one, and is asked with the filter in its own
form, so that the time includes the evaluation of the filter. A peer with a setting for recall takes the least that gives it. A peer that is not
installed, or that refuses a filter, has no figure.

    pip install numpy sqlite-vec duckdb lancedb qdrant-edge-py
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "LANCE_CPU_THREADS", "LANCE_IO_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np

K = 10
EFS = (10, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024)

# Name, condition for NumPy over columns, and the clauses: field, operator, value.
PREDICATES = [
    ("none", lambda t, y, s: np.ones(len(s), bool), []),
    ("score < 0.5", lambda t, y, s: s < 0.5, [("score", "<", 0.5)]),
    ("score < 0.1", lambda t, y, s: s < 0.1, [("score", "<", 0.1)]),
    ("score < 0.01", lambda t, y, s: s < 0.01, [("score", "<", 0.01)]),
    ("score < 0.001", lambda t, y, s: s < 0.001, [("score", "<", 0.001)]),
    ("score < 0.0001", lambda t, y, s: s < 0.0001, [("score", "<", 0.0001)]),
    ("year >= 2008", lambda t, y, s: y >= 2008, [("year", ">=", 2008)]),
    ("tenant = 'tenant 7'", lambda t, y, s: t == 7, [("tenant", "=", "tenant 7")]),
    (
        "tenant = 'tenant 7' and year >= 2000",
        lambda t, y, s: (t == 7) & (y >= 2000),
        [("tenant", "=", "tenant 7"), ("year", ">=", 2000)],
    ),
    (
        "tenant = 'tenant 7' and year >= 2000 and score < 0.5",
        lambda t, y, s: (t == 7) & (y >= 2000) & (s < 0.5),
        [("tenant", "=", "tenant 7"), ("year", ">=", 2000), ("score", "<", 0.5)],
    ),
]


def read(path):
    """Returns the rows of a file of half floats, as floats."""
    count, dimension = np.fromfile(path, "<u4", 2)
    return np.fromfile(path, "<f2", offset=8).reshape(count, dimension).astype(np.float32)


def literal(value):
    return f"'{value}'" if isinstance(value, str) else repr(value)


def sql(clauses):
    """Returns a condition in SQL; nothing for no clauses."""
    return " and ".join(f"{field} {op} {literal(value)}" for field, op, value in clauses)


def arrow(base, tenant, year, score):
    """Returns all columns as a table of Arrow."""
    import pyarrow

    return pyarrow.table(
        {
            "id": np.arange(len(base), dtype=np.int64),
            "e": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(base.reshape(-1)), base.shape[1]),
            "tenant": [f"tenant {t}" for t in tenant],
            "year": year,
            "score": score,
        }
    )


class Peer:
    """A database with all vectors; `efs` are its settings for recall, in the order of their cost."""

    efs = (0,)


class SqliteVec(Peer):
    """Exact: a scan with metadata columns."""

    def __init__(self, folder, base, tenant, year, score):
        import sqlite3

        import sqlite_vec

        self.db = sqlite3.connect(folder / "vec.db")
        self.db.enable_load_extension(True)
        sqlite_vec.load(self.db)
        self.db.execute(
            "create virtual table v using vec0(id integer primary key, e float[%d] distance_metric=cosine,"
            " tenant text, year integer, score float)" % base.shape[1]
        )
        rows = zip(range(len(base)), base, tenant, year, score)
        self.db.executemany(
            "insert into v values (?, ?, ?, ?, ?)",
            ((i, e.tobytes(), f"tenant {t}", int(y), float(s)) for i, e, t, y, s in rows),
        )
        self.db.commit()

    def search(self, query, clauses, _ef):
        where = "".join(f" and {field} {op} {literal(value)}" for field, op, value in clauses)
        found = self.db.execute(f"select id from v where e match ? and k = {K}{where}", [query.tobytes()])
        return [key for (key,) in found]


class Duck(Peer):
    """Exact: a scan of a column of arrays."""

    def __init__(self, folder, base, tenant, year, score):
        import duckdb

        self.db = duckdb.connect(str(folder / "duck.db"), config={"threads": 1})
        self.dimension = base.shape[1]
        self.db.register("columns", arrow(base, tenant, year, score))
        self.db.execute("create table v as select * from columns")
        for field in ("tenant", "year", "score"):
            self.db.execute(f"create index by_{field} on v({field})")

    def search(self, query, clauses, _ef):
        where = f" where {sql(clauses)}" if clauses else ""
        text = f"select id from v{where} order by array_cosine_distance(e, ?::float[{self.dimension}]) limit {K}"
        return [key for (key,) in self.db.execute(text, [query.tolist()]).fetchall()]


class Lance(Peer):
    """A graph over scalar codes in one list, reranked by the vectors, with indexes on the columns."""

    efs = EFS

    def __init__(self, folder, base, tenant, year, score):
        import lancedb

        table = arrow(base, tenant, year, score)
        self.table = lancedb.connect(folder / "lance").create_table("v", table)
        self.table.create_index(
            "cosine", vector_column_name="e", index_type="IVF_HNSW_SQ", num_partitions=1, m=16, ef_construction=200
        )
        for field, kind in (("tenant", "BITMAP"), ("year", "BITMAP"), ("score", "BTREE")):
            self.table.create_scalar_index(field, index_type=kind)

    def search(self, query, clauses, ef):
        search = self.table.search(query, vector_column_name="e").distance_type("cosine").select(["id"])
        if clauses:
            search = search.where(sql(clauses), prefilter=True)
        found = search.nprobes(1).ef(ef).refine_factor(max(1, ef // (2 * K))).limit(K).to_arrow()
        return found["id"].to_pylist()


class QdrantEdge(Peer):
    """A graph over vectors, with indexes on the fields of payloads."""

    efs = EFS

    def __init__(self, folder, base, tenant, year, score):
        import qdrant_edge as edge

        self.edge = edge
        (folder / "edge").mkdir()
        config = edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(size=base.shape[1], distance=edge.Distance.Cosine),
            hnsw_config=edge.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=10_000),
            optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000),
            max_search_threads=1,
        )
        self.shard = edge.EdgeShard.create(str(folder / "edge"), config)
        kinds = {
            "tenant": edge.PayloadSchemaType.Keyword,
            "year": edge.PayloadSchemaType.Integer,
            "score": edge.PayloadSchemaType.Float,
        }
        for field, kind in kinds.items():
            self.shard.update(edge.UpdateOperation.create_field_index(field, kind))
        rows = zip(range(len(base)), base, tenant, year, score)
        points = []
        for i, e, t, y, s in rows:
            payload = {"tenant": f"tenant {t}", "year": int(y), "score": float(s)}
            points.append(edge.Point(i, e.tolist(), payload))
            if len(points) == 5000 or i + 1 == len(base):
                self.shard.update(edge.UpdateOperation.upsert_points(points))
                points = []
        self.shard.optimize()

    def condition(self, field, op, value):
        edge = self.edge
        if op == "=":
            return edge.FieldCondition(key=field, match=edge.MatchValue(value=value))
        bounds = {"<": {"lt": float(value)}, ">=": {"gte": float(value)}}[op]
        return edge.FieldCondition(key=field, range=edge.RangeFloat(**bounds))

    def search(self, query, clauses, ef):
        edge = self.edge
        must = [self.condition(*clause) for clause in clauses]
        request = edge.QueryRequest(
            query=edge.Query.Nearest(query.tolist()),
            filter=edge.Filter(must=must) if must else None,
            params=edge.SearchParams(hnsw_ef=ef),
            limit=K,
        )
        return [point.id for point in self.shard.query(request)]


class Nearfield(Peer):
    """This library's Python package: the predicate is evaluated for each query, and kept by none."""

    efs = EFS

    def __init__(self, folder, base, tenant, year, score):
        import nearfield

        self.collection = nearfield.Collection(folder / "n.nf", base.shape[1], "cosine", quantization="auto")
        for first in range(0, len(base), 5000):
            keys = np.arange(first, min(first + 5000, len(base)), dtype=np.uint64)
            with self.collection.write() as tx:
                tx.upsert(keys, base[first : first + 5000])
                for key in keys.tolist():
                    values = {"tenant": f"tenant {tenant[key]}", "year": int(year[key]), "score": float(score[key])}
                    tx.set_attributes(key, values)
        self.collection.checkpoint()

    def search(self, query, clauses, ef):
        selection = self.collection.matching(sql(clauses)) if clauses else None
        return self.collection.search(query, K, ef=ef, filter=selection).keys.tolist()


PEERS = {"sqlite-vec": SqliteVec, "duckdb": Duck, "lancedb": Lance, "qdrant-edge": QdrantEdge, "nearfield": Nearfield}


def truth(base, queries, mask):
    """Returns the keys of the nearest of some vectors to each query; all vectors and queries have length one."""
    keys = np.flatnonzero(mask)
    distances = -queries @ base[keys].T
    count = min(K, len(keys))
    nearest = np.argpartition(distances, count - 1, axis=1)[:, :count] if count else distances[:, :0].astype(int)
    return [set(keys[row].tolist()) for row in nearest]


def measure(peer, queries, clauses, expected, recall):
    """Returns setting, recall and QPS at the least setting with this recall, or at the last one."""
    for ef in peer.efs:
        found = total = 0
        for query, keys in zip(queries, expected):
            found += len(keys.intersection(peer.search(query, clauses, ef)))
            total += len(keys)
        reached = found / max(total, 1)
        if reached >= recall or ef == peer.efs[-1]:
            break
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for query in queries:
            peer.search(query, clauses, ef)
        times.append(time.perf_counter() - start)
    return ef, reached, len(queries) / sorted(times)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    base, queries = read(args.folder / "base.f16bin"), read(args.folder / "query.f16bin")[: args.queries]
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    random = np.random.default_rng(1)
    tenant = random.integers(0, 20, len(base))
    year = random.integers(1990, 2026, len(base)).astype(np.int32)
    score = random.permutation(len(base)) / len(base)
    cases = []
    for name, condition, clauses in PREDICATES:
        mask = condition(tenant, year, score)
        cases.append((name, clauses, mask.mean(), truth(base, queries, mask)))
    for name in args.peers.split(","):
        folder = Path(tempfile.mkdtemp(prefix="nearfield-peers-"))
        try:
            start = time.perf_counter()
            peer = PEERS[name](folder, base, tenant, year, score)
            print(f"{name}: {len(base)} x {base.shape[1]}, built in {time.perf_counter() - start:.1f} s", flush=True)
            for text, clauses, share, expected in cases:
                try:
                    ef, reached, qps = measure(peer, queries, clauses, expected, args.recall)
                except Exception as error:  # noqa: BLE001 - a peer may lack an operator
                    print(f"  {share * 100:7.3f} %  {text}: refused: {str(error)[:120]}", flush=True)
                    continue
                print(f"  {share * 100:7.3f} %  ef {ef:4}  recall {reached:.3f}  {qps:9.0f} QPS  {text}", flush=True)
                if args.json:
                    line = {"peer": name, "predicate": text, "share": share, "ef": ef, "recall": reached, "qps": qps}
                    with args.json.open("a") as file:
                        print(json.dumps(line), file=file)
        except ImportError as error:
            print(f"{name}: not installed: {error}", file=sys.stderr)
        except Exception as error:  # noqa: BLE001 - the other peers go on
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
