"""The cost of building by shards: measured, and beside it what the model of `docs/past-one-machine.md` predicts.

    python python/benches/shards.py --rows 1000000 --shards 1 2 4 --workers 2
    python python/benches/shards.py --rows 1000000 --shards 4 --workers 4 --kill

Vectors are generated. `--kill` kills one actor in the middle of each build of more than one shard, builds again without, and compares the bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import ray

from nearfield import Collection, Flat
from nearfield._folder import fingerprint
from nearfield._shards import Shards
from nearfield.ray import build

BLOCK = 50_000


def generated(first: int, count: int, dimension: int) -> np.ndarray:
    """Returns some of the rows: 1,000 clusters along 32 directions, and noise."""
    shared = np.random.default_rng(0)
    directions = shared.standard_normal((32, dimension), np.float32)
    centres = shared.standard_normal((1000, 32), np.float32)
    random = np.random.default_rng([1, first])
    inner = centres[random.integers(0, 1000, count)] + 0.5 * random.standard_normal((count, 32), np.float32)
    return inner @ directions / math.sqrt(32) + 0.1 * random.standard_normal((count, dimension), np.float32)


def dataset(rows: int, dimension: int) -> ray.data.Dataset:
    def block(batch: dict) -> dict:
        return {"vector": np.concatenate([generated(first, min(BLOCK, rows - first), dimension) for first in batch["first"].tolist()])}

    firsts = [{"first": first} for first in range(0, rows, BLOCK)]
    return ray.data.from_items(firsts, override_num_blocks=len(firsts)).map_batches(block, batch_size=1)


def predicted(rows: int, shards: int, workers: int, insertion: float, step: float) -> tuple[float, float]:
    """Returns the seconds of shards and of merges. `insertion`: seconds for one vector among 100,000; `step`: of a level of merges."""
    grown = 1 + 0.05 * math.log2(max(rows / shards, 2) / 100_000)
    rounds = math.ceil(shards / workers)
    built = rounds * rows / shards * insertion * grown
    merges, size, count = 0.0, rows / shards, shards
    while count > 1:
        count //= 2
        size *= 2
        merges += math.ceil(count / workers) * size * step * (1 + 0.05 * math.log2(size / 100_000))
    return built, merges


def kill_one(folder: Path, killed: list[int]) -> None:
    """Kills the actor that makes the last shard, a while after it began."""
    while not killed:
        for mark in folder.glob("shard-*1.nf.begun-1-*"):
            time.sleep(1)
            killed.append(int(mark.name.rsplit("-", 1)[1]))
            os.kill(killed[0], signal.SIGKILL)
        time.sleep(0.01)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: fingerprint(path) for path in sorted(folder.glob("*.nf"))}


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--insertion", type=float, help="seconds of an insertion, for the model; by default measured")
    parser.add_argument("--step", type=float, help="seconds of a vector's part in a merge, for the model; by default measured")
    chosen = parser.parse_args()
    ray.init(num_cpus=chosen.workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    queries = generated(10**9, 500, chosen.dimension)
    exact = Flat(chosen.dimension, "l2")
    for first in range(0, chosen.rows, BLOCK):
        count = min(BLOCK, chosen.rows - first)
        exact.add(np.arange(first, first + count), generated(first, count, chosen.dimension))
    truth = exact.search(queries, 10).keys
    del exact
    place = Path(tempfile.mkdtemp(prefix="nearfield-shards-"))
    insertion, step = chosen.insertion, chosen.step
    print(f"{chosen.rows} x {chosen.dimension}, {chosen.workers} workers of one thread, {os.cpu_count()} cores")
    for shards in chosen.shards:
        folder, killed = place / f"of-{shards}", []
        if chosen.kill and shards > 1:
            folder.mkdir()
            threading.Thread(target=kill_one, args=(folder, killed), daemon=True).start()
        begun = time.monotonic()
        manifest = build(dataset(chosen.rows, chosen.dimension), str(folder), shards, metric="l2", workers=chosen.workers, batch_size=BLOCK)
        seconds, took = time.monotonic() - begun, manifest["seconds"]
        built, merges = took["shards"], took.get("merges", 0.0)
        part = chosen.rows / shards
        if insertion is None:
            insertion = built / predicted(chosen.rows, shards, chosen.workers, 1.0, 1.0)[0]
        if step is None and shards > 1:
            step = merges / predicted(chosen.rows, shards, chosen.workers, 1.0, 1.0)[1]
        model = predicted(chosen.rows, shards, chosen.workers, insertion, step or 0.0)
        size = sum(path.stat().st_size for path in folder.glob("shard-*.nf"))
        with Collection(folder / (manifest["merged"] or manifest["shards"][0]), read_only=True) as whole:
            found = recall(whole.search(queries, 10, ef=64).keys, truth)
        manifest["merged"] = None
        (folder / "manifest.json").write_text(json.dumps(manifest))
        apart = recall(Shards(str(folder)).search(queries, 10, ef=64)[0], truth)
        print(
            f"{shards} shards of {part:.0f}: {built:.1f} s (model {model[0]:.1f}), merges {merges:.1f} s (model {model[1]:.1f}), in all {seconds:.1f} s; "
            f"{size / chosen.rows:.0f} bytes a vector; recall@10 at ef 64 {found:.4f} merged, {apart:.4f} by shards"
        )
        if killed:
            again = place / "again"
            build(dataset(chosen.rows, chosen.dimension), str(again), shards, metric="l2", workers=chosen.workers, batch_size=BLOCK)
            same = hashes(again) == hashes(folder)
            print(f"  process {killed[0]} was killed; attempts {sorted(manifest['attempts'].values())}; the same bytes as without: {same}")
            shutil.rmtree(again)
    print(f"for the model of larger runs: --insertion {insertion:.3e} --step {step or 0.0:.3e}")
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
