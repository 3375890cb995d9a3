"""Collections built and searched by many processes or machines with Ray: `pip install nearfield[ray]`.

    manifest = build(ray.data.read_parquet("s3://data/vectors"), "s3://data/index", num_shards=16)
    answers = search(ray.data.read_parquet("queries"), "s3://data/index", k=10)
    serve.run(deployment("s3://data/index", replicas=2))

Rows are dealt to the shards in their order, and every shard has the codes of one quantizer, so that merging copies codes. The same rows, in the same order,
and the same settings make the same bytes but for the identity of each file, also after actors were lost. `docs/past-one-machine.md` has the costs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import ray
import ray.data

from . import Collection, Index, InvalidInputError
from ._errors import ConflictError
from ._folder import Folder
from ._shards import MANIFEST, Shards, merged

if TYPE_CHECKING:
    from ray.data import Dataset
    from ray.serve import Application

Progress = Callable[[str, int, int], object]

# Vectors that the quantizer is fitted to: no fewer than it needs, no more than are of use, and no more than a shard has, so that a shard
# uses the place of each again.
LEAST_SAMPLE, MOST_SAMPLE = 4_096, 10_000


class _Builder:
    """An actor that builds shards, each from its own rows, in a file of its own."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._folder = Folder(plan["path"])

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        built = [self._build(int(shard)) for shard in batch["shard"]]
        return {name: np.array([row[name] for row in built]) for name in ("shard", "attempts", "seconds")}

    def _build(self, shard: int) -> dict[str, float]:
        start, plan = time.monotonic(), self._plan
        name = _shard_name(shard)
        attempts = self._folder.begin(name)
        index: Index = ray.get(plan["empty"])
        for keys, vectors, _ in _batches(plan, shard):
            index.add(keys, vectors, threads=plan["threads"], deterministic=True)
        with self._folder.new(name) as file:
            index.save(file)
            del index
            if plan["payload"] or plan["attributes"]:
                _describe(plan, shard, file)
        self._folder.end(name)
        return {"shard": shard, "attempts": attempts, "seconds": time.monotonic() - start}


def _shard_name(shard: int) -> str:
    return f"shard-{shard:05}.nf"


def _matrix(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns a column of vectors as the rows of a matrix; lists of numbers become `float32`."""
    if column.dtype == object:
        column = np.stack([np.asarray(row) for row in column])
    return column.astype(np.float32) if column.dtype == np.float64 else np.ascontiguousarray(column)


def _batches(plan: dict[str, Any], shard: int) -> Any:
    """Yields keys, vectors and the other columns of a shard's rows."""
    first = plan["firsts"][shard]
    for batch in plan["parts"][shard].iter_batches(batch_size=plan["batch_size"], batch_format="numpy"):
        vectors = _matrix(batch[plan["vector"]])
        keys = batch[plan["key"]] if plan["key"] else np.arange(first, first + len(vectors))
        yield keys, vectors, batch
        first += len(vectors)


def _describe(plan: dict[str, Any], shard: int, file: Any) -> None:
    """Adds payloads and attributes to the file of a shard."""
    plain = lambda value: value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value  # noqa: E731
    with Collection(file) as collection:
        for keys, _, batch in _batches(plan, shard):
            with collection.write(durability="none") as tx:
                for at, key in enumerate(keys.tolist()):
                    if plan["payload"] and batch[plan["payload"]][at] is not None:
                        tx.put_payload(key, batch[plan["payload"]][at])
                    if plan["attributes"]:
                        tx.set_attributes(key, {name: plain(batch[name][at]) for name in plan["attributes"]})


@ray.remote
def _sample(plan: dict[str, Any], shard: int, stride: int) -> npt.NDArray[Any]:
    """Returns each `stride`th vector of a shard's rows."""
    kept = []
    first = plan["firsts"][shard]
    for _, vectors, _ in _batches(plan, shard):
        kept.append(vectors[-first % stride :: stride])
        first += len(vectors)
    return np.concatenate(kept)


@ray.remote
def _merge(path: str, left: str, right: str, into: str, threads: int) -> str:
    """Merges two files into a third."""
    folder = Folder(path)
    with folder.local(left) as first, folder.local(right) as second, folder.new(into) as file:
        Collection.merge([first, second], file, threads=threads)
    return into


def build(
    dataset: Dataset,
    path: str,
    num_shards: int,
    *,
    vector: str = "vector",
    key: str | None = None,
    payload: str | None = None,
    attributes: Sequence[str] = (),
    metric: str = "cosine",
    workers: int | None = None,
    threads: int = 1,
    batch_size: int = 8192,
    merge: bool = True,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Builds `num_shards` collections from the rows of a dataset, then one of them all. Returns the manifest.

    `path`: a folder that all machines reach, on a shared disk or by a URL of fsspec. `vector`: the column of vectors. `key`: the column of keys;
    by default the positions of the rows. `payload`, `attributes`: columns of bytes and of values that the collections keep. `workers`: actors at a
    time; by default one for each shard, as far as the cluster has `threads` cores for it. `merge`: whether shards are merged. `progress`: called
    with "shards" or "merges", their number done and in all. `settings` are those of `nearfield.Index`.

    A second call with the same arguments goes on where the first one ended: it keeps shards and merges that are whole.
    """
    if num_shards < 1 or threads < 1:
        raise InvalidInputError(f"num_shards is {num_shards} and threads is {threads}; allowed: 1 or more")
    begun, show = time.monotonic(), progress or (lambda stage, done, total: None)
    # Blocks in the order of the rows: keys, shards and bytes depend on it.
    dataset.context.execution_options.preserve_order = True
    rows = dataset.materialize()
    count = rows.count()
    if count < num_shards:
        raise InvalidInputError(f"the dataset has {count} rows for {num_shards} shards; allowed: a row a shard, or more")
    firsts = [count * shard // num_shards for shard in range(num_shards)]
    parts = rows.split_at_indices(firsts[1:]) if num_shards > 1 else [rows]
    plan = {"path": path, "vector": vector, "key": key, "payload": payload, "attributes": list(attributes)}
    plan |= {"threads": threads, "batch_size": batch_size, "firsts": firsts, "parts": parts}

    folder = Folder(path)
    empty, digest = _empty(plan, count, metric, settings)
    own = {name: plan[name] for name in ("vector", "key", "payload", "attributes", "batch_size")}
    own |= {"rows": count, "num_shards": num_shards, "metric": metric, "settings": settings, "sample": digest}
    manifest = folder.read_json(MANIFEST)
    if manifest is None:
        manifest = {"plan": own, "shards": [], "merged": None, "attempts": {}, "seconds": {}}
        folder.write_json(MANIFEST, manifest)
    elif manifest["plan"] != json.loads(json.dumps(own)):
        raise ConflictError(f"{path} has an index of other data or settings; choose another path, or remove its files")
    manifest["seconds"]["sample"] = time.monotonic() - begun

    begun = time.monotonic()
    missing = [shard for shard in range(num_shards) if not folder.exists(_shard_name(shard))]
    done = num_shards - len(missing)
    show("shards", done, num_shards)
    if missing:
        cores = int(ray.cluster_resources().get("CPU", 1))
        workers = min(workers or max(cores // threads, 1), len(missing))
        built = ray.data.from_items([{"shard": shard} for shard in missing], override_num_blocks=len(missing)).map_batches(
            _Builder,
            fn_constructor_args=(plan | {"empty": ray.put(empty)},),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=threads,
            max_restarts=-1,
            max_task_retries=-1,
        )
        for row in built.iter_rows():
            done += 1
            manifest["attempts"][_shard_name(row["shard"])] = int(row["attempts"])
            show("shards", done, num_shards)
        manifest["seconds"]["shards"] = time.monotonic() - begun
    manifest["shards"] = [_shard_name(shard) for shard in range(num_shards)]
    folder.write_json(MANIFEST, manifest)

    folder.tidy()
    if merge and manifest["merged"] is None:
        begun = time.monotonic()
        manifest["merged"] = _merge_all(folder, num_shards, threads, show)
        manifest["seconds"]["merges"] = time.monotonic() - begun
        folder.write_json(MANIFEST, manifest)
        folder.tidy()
    return manifest


def _empty(plan: dict[str, Any], count: int, metric: str, settings: dict[str, Any]) -> tuple[Index, str]:
    """Returns an index without vectors, whose quantizer is fitted to vectors from all shards, and a hash of these."""
    wanted = min(max(count // len(plan["firsts"]), LEAST_SAMPLE), MOST_SAMPLE)
    # Rounded so that small data sets give more vectors rather than fewer.
    stride = max(count // wanted, 1)
    sample = np.concatenate(ray.get([_sample.remote(plan, shard, stride) for shard in range(len(plan["firsts"]))]))
    index = Index(sample.shape[1], metric, **settings)  # type: ignore[arg-type]
    keys = np.arange(len(sample))
    index.add(keys, sample, deterministic=True)
    index.remove(keys)
    return index, hashlib.sha256(sample.tobytes()).hexdigest()


def _merge_all(folder: Folder, num_shards: int, threads: int, show: Progress) -> str:
    """Merges the shards two by two, and the results. Returns the name of the last file."""
    pending: list[Any] = []
    between: list[str] = []
    merge = _merge.options(num_cpus=threads, max_retries=-1)

    def node(first: int, end: int) -> Any:
        if end - first == 1:
            return _shard_name(first)
        name = "merged.nf" if end - first == num_shards else f"merged-{first:05}-{end:05}.nf"
        if name != "merged.nf":
            between.append(name)
        if folder.exists(name):
            return name
        middle = (first + end + 1) // 2
        pending.append(merge.remote(folder.path, node(first, middle), node(middle, end), name, threads))
        return pending[-1]

    last = node(0, num_shards)
    waiting, total = list(pending), len(pending)
    while waiting:
        _, waiting = ray.wait(waiting)
        show("merges", total - len(waiting), total)
    # An error of a task is raised here.
    name: str = ray.get(last) if pending else last
    for file in between:
        folder.remove(file)
    return name


class _Searcher:
    """An actor that answers batches of queries."""

    def __init__(self, path: str, vector: str, k: int, options: dict[str, Any]) -> None:
        self._shards, self._vector, self._k, self._options = Shards(path), vector, k, options

    def __call__(self, batch: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        keys, distances = self._shards.search(_matrix(batch[self._vector]), self._k, **self._options)
        return batch | {"keys": keys, "distances": distances}


def search(
    queries: Dataset, path: str, *, k: int = 10, vector: str = "vector", workers: int = 1, threads: int = 1, batch_size: int = 1000, **options: Any
) -> Dataset:
    """Returns the queries with columns `keys` and `distances`, `k` of each. `options` are those of `nearfield.Collection.search`."""
    return queries.map_batches(
        _Searcher,
        fn_constructor_args=(path, vector, k, options | {"threads": threads}),
        batch_size=batch_size,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=threads,
    )


class _Group:
    """A replica that has some of the shards open for reading."""

    def __init__(self, path: str, group: int, groups: int, refresh: float, threads: int) -> None:
        self._shards, self._refresh, self._threads = Shards(path, group, groups), refresh, threads
        self._checked = time.monotonic()

    async def search(self, queries: npt.NDArray[np.float32], k: int, options: dict[str, Any]) -> Any:
        if time.monotonic() - self._checked >= self._refresh:
            self._checked = time.monotonic()
            await asyncio.to_thread(self._shards.refresh)
        return await asyncio.to_thread(self._shards.search, queries, k, threads=self._threads, **options)


class _Front:
    """Asks one replica of each group, and merges their answers."""

    def __init__(self, *groups: Any) -> None:
        self._groups = groups

    async def search(self, queries: Any, k: int = 10, **options: Any) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
        """Returns the keys and distances of `k` answers to each query."""
        rows = np.atleast_2d(np.asarray(queries, np.float32))
        return merged(await asyncio.gather(*(group.search.remote(rows, k, options) for group in self._groups)), k)

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import JSONResponse

        try:
            body = await request.json()
            keys, distances = await self.search(body.pop("vectors"), body.pop("k", 10), **body)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # A replica's error is also an instance of its cause.
            return JSONResponse({"error": f"{type(error).__name__}: {getattr(error, 'cause', error)}"}, status_code=400)
        counts = (~np.isnan(distances)).sum(axis=1).tolist()
        rows = [{"keys": keys[at, :count].tolist(), "distances": distances[at, :count].tolist()} for at, count in enumerate(counts)]
        return JSONResponse({"answers": rows})


def deployment(
    path: str, *, groups: int = 1, replicas: int = 1, threads: int = 1, refresh: float = 1.0, max_queued: int = 1000
) -> Application:
    """Returns an application of Ray Serve: `serve.run(deployment(path))` answers `POST {"vectors": [[...]], "k": 10, "filter": ...}`.

    The shards are dealt to `groups`, each with `replicas` of `threads` cores; a group opens the merged file if it is the only one. A replica
    looks for replaced shards when it is asked, `refresh` seconds after the last look. Beyond `max_queued` waiting requests, callers get 503.
    """
    # Only here: workers that build or search need no web server.
    from ray import serve

    group = serve.deployment(_Group).options(num_replicas=replicas, ray_actor_options={"num_cpus": threads})
    bound = [group.options(name=f"Shards{at}").bind(path, at, groups, refresh, threads) for at in range(groups)]
    return serve.deployment(_Front).options(name="Front", max_queued_requests=max_queued).bind(*bound)
