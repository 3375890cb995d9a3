"""The cost of Python: the same searches of the same index from Python and from Rust, in turns.

    cargo build --release --package nearfield-python --example native
    python python/benches/overhead.py target/release/examples/native [folder of a data set]

Without a folder the vectors are generated. A data set is in the binary layout of big-ann: `base.f16bin` and `query.f16bin`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

import nearfield

K, EF, ROUNDS, TURNS = 10, 64, 10, 3


def read(path: Path) -> npt.NDArray[np.float32]:
    rows, columns = np.fromfile(path, np.uint32, 2)
    return np.fromfile(path, np.float16, offset=8).reshape(rows, columns).astype(np.float32)


def generated() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    random = np.random.default_rng(0)
    centres = random.standard_normal((200, 128), dtype=np.float32)
    rows = centres[random.integers(0, 200, 21_000)] + 0.5 * random.standard_normal((21_000, 128), dtype=np.float32)
    return rows[1000:], rows[:1000]


def measured(index: nearfield.Index, queries: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Returns the microseconds of a search and the queries a second of batches: the mean of each query's fastest round, and the fastest batch."""
    rows, search, clock = list(queries), index.search, time.perf_counter
    single, batch = np.full(len(rows), np.inf), 0.0
    for _ in range(ROUNDS):
        for at, row in enumerate(rows):
            start = clock()
            search(row, K, ef=EF)
            single[at] = min(single[at], clock() - start)
        start = clock()
        search(queries, K, ef=EF)
        batch = max(batch, len(rows) / (clock() - start))
    return float(single.mean()) * 1e6, batch


def main() -> None:
    native = sys.argv[1]
    base, queries = (read(Path(sys.argv[2]) / f"{part}.f16bin") for part in ["base", "query"]) if len(sys.argv) > 2 else generated()
    with tempfile.TemporaryDirectory() as folder:
        index = nearfield.Index(base.shape[1], "cosine")
        index.add(np.arange(len(base)), base, progress=True)
        path, asked = Path(folder) / "index.nf", Path(folder) / "queries.npy"
        index.save(path)
        np.save(asked, queries)
        index = nearfield.Index.load(path)
        exact = nearfield.Flat(base.shape[1], "cosine")
        exact.add(np.arange(len(base)), base)
        truth, found = exact.search(queries, K).keys, index.search(queries, K, ef=EF).keys
        recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(truth, found)])
        python, rust = [], []
        for _ in range(TURNS):
            python.append(measured(index, queries))
            output = subprocess.run([native, path, asked, str(K), str(EF), str(ROUNDS)], capture_output=True, text=True, check=True)
            rust.append(tuple(float(number) for number in output.stdout.split()))
    tiny = nearfield.Index(2, "l2")
    tiny.add(0, [0.0, 0.0])
    query = np.zeros(2, np.float32)
    call = []
    for _ in range(1000):
        start = time.perf_counter()
        for _ in range(100):
            tiny.search(query, 1)
        call.append((time.perf_counter() - start) / 100 * 1e6)
    single, single_rust = min(turn[0] for turn in python), min(turn[0] for turn in rust)
    batch, batch_rust = max(turn[1] for turn in python), max(turn[1] for turn in rust)
    print(f"{len(base)} x {base.shape[1]}, recall@{K} {recall:.4f} at ef {EF}; the best of {TURNS} turns of {ROUNDS} rounds")
    print(f"one query: {single:.2f} us from Python, {single_rust:.2f} us from Rust: {single - single_rust:+.2f} us")
    print(f"batch of {len(queries)}: {batch:.0f} a second from Python, {batch_rust:.0f} from Rust: {batch / batch_rust:.1%}")
    print(f"a call that finds the only vector of an index: {min(call):.2f} us")


if __name__ == "__main__":
    main()
