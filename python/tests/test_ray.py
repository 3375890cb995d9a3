"""Collections built and searched by processes of Ray, on this machine."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="ray is not installed")
pytest.importorskip("ray.data", reason="ray[data] is not installed")
pytest.importorskip("ray.serve", reason="ray[serve] is not installed")

from nearfield import Collection, ConflictError, Flat, Index, InvalidInputError, NotFoundError
from nearfield._folder import fingerprint
from nearfield.ray import build, deployment, search

ROWS, DIMENSION, SHARDS = 20_000, 32, 4


@pytest.fixture(scope="module")
def rows():
    """20,000 vectors in 60 clusters: enough for a quantizer in every shard and in all."""
    random = np.random.default_rng(11)
    centres = random.standard_normal((60, DIMENSION))
    return (centres[random.integers(0, 60, ROWS)] + 0.5 * random.standard_normal((ROWS, DIMENSION))).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Four workers as processes, however many cores there are; or a cluster that RAY_ADDRESS names."""
    own = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": 4, "include_dashboard": False}
    ray.init(logging_level="ERROR", log_to_driver=False, **own)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def dataset(rows):
    return ray.data.from_numpy(np.array_split(rows, 7)).rename_columns({"data": "vector"})


@pytest.fixture(scope="module")
def built(dataset, tmp_path_factory):
    """A build that nothing disturbs."""
    folder = tmp_path_factory.mktemp("built")
    manifest = build(dataset, str(folder), SHARDS, metric="l2", workers=2, batch_size=1000)
    assert manifest["attempts"] == dict.fromkeys(manifest["shards"], 1)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files(folder: Path) -> dict[str, str]:
    return {path.name: fingerprint(path) for path in folder.glob("*.nf")}


def exact(rows, queries, k=10):
    index = Flat(DIMENSION, "l2")
    index.add(np.arange(len(rows)), rows)
    return index.search(queries, k).keys


def recall(found, truth):
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth)])


def test_the_merged_index_finds_as_much_as_a_single_one(built, rows):
    queries = rows[::60] + np.float32(0.1)
    single = Index(DIMENSION, "l2")
    single.add(np.arange(ROWS), rows)
    with Collection(built / "merged.nf", read_only=True) as merged:
        assert len(merged) == ROWS and set(merged.keys().tolist()) == set(range(ROWS))
        truth = exact(rows, queries)
        alone, together = (recall(index.search(queries, 10, ef=32).keys, truth) for index in (single, merged))
    assert together > alone - 0.005
    assert names(built) == ["manifest.json", "merged.nf", *(f"shard-{shard:05}.nf" for shard in range(SHARDS))]


def test_a_killed_actor_changes_no_byte(dataset, built, tmp_path):
    killed = []

    def kill():
        while not killed:
            # A shard that is being made is named with the process that makes it.
            for mark in tmp_path.glob("shard-00002.nf.begun-1-*"):
                killed.append(int(mark.name.rsplit("-", 1)[1]))
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.001)

    watcher = threading.Thread(target=kill)
    watcher.start()
    manifest = build(dataset, str(tmp_path), SHARDS, metric="l2", workers=2, batch_size=1000)
    watcher.join()
    assert killed and manifest["attempts"]["shard-00002.nf"] == 2
    assert sum(manifest["attempts"].values()) == SHARDS + 1
    assert files(tmp_path) == files(built)
    assert names(tmp_path) == names(built)


def test_a_build_goes_on_where_it_ended(dataset, built, tmp_path):
    settings = {"metric": "l2", "workers": 2, "batch_size": 1000}
    build(dataset, str(tmp_path), SHARDS, merge=False, **settings)
    lost = tmp_path / "shard-00001.nf"
    lost.unlink()
    kept = (tmp_path / "shard-00003.nf").stat().st_mtime_ns
    seen = []
    build(dataset, str(tmp_path), SHARDS, progress=lambda *step: seen.append(step), **settings)
    assert seen == [("shards", 3, 4), ("shards", 4, 4), ("merges", 1, 3), ("merges", 2, 3), ("merges", 3, 3)]
    assert (tmp_path / "shard-00003.nf").stat().st_mtime_ns == kept
    assert files(tmp_path) == files(built)
    with pytest.raises(ConflictError, match="other data or settings"):
        build(dataset, str(tmp_path), SHARDS, metric="cosine")
    with pytest.raises(InvalidInputError, match="num_shards is 0"):
        build(dataset, str(tmp_path / "none"), 0)


def test_shards_answer_as_the_merged_file(dataset, built, rows, tmp_path):
    queries = rows[::100]
    build(dataset, str(tmp_path), SHARDS, metric="l2", merge=False, workers=2, batch_size=1000)
    asked = ray.data.from_numpy(queries).rename_columns({"data": "vector"})
    truth = exact(rows, queries)
    for folder in [built, tmp_path]:
        found = search(asked, str(folder), k=10, ef=200, batch_size=50).take_all()
        assert len(found) == len(queries)
        order = {row["vector"].tobytes(): row["keys"] for row in found}
        assert recall([order[query.tobytes()] for query in queries], truth) > 0.999
    with pytest.raises(Exception, match="no finished index"):
        search(asked, str(tmp_path / "empty")).take_all()


def test_payloads_attributes_and_urls(rows, tmp_path):
    items = [
        {"id": 10 * at, "embedding": rows[at].tolist(), "text": f"row {at}".encode(), "even": at % 2 == 0} for at in range(500)
    ]
    dataset = ray.data.from_items(items, override_num_blocks=3)
    columns = {"vector": "embedding", "key": "id", "payload": "text", "attributes": ["even"]}
    # A folder that files are copied to and from, as to and from an object store.
    url = f"simplecache::file://{tmp_path}/remote"
    manifest = build(dataset, url, 3, metric="l2", **columns)
    assert manifest["merged"] == "merged.nf"
    with Collection(tmp_path / "remote" / "merged.nf", read_only=True) as merged:
        assert merged.payload(70) == b"row 7" and merged.attributes(70) == {"even": False}
        assert len(merged.matching({"even": True})) == 250
    asked = ray.data.from_numpy(rows[:20]).rename_columns({"data": "vector"})
    found = search(asked, url, k=1, filter={"even": True}).take_all()
    assert {row["keys"][0] % 20 for row in found} == {0}


def test_a_service_answers_and_notices_a_replaced_shard(dataset, rows, tmp_path):
    import json
    import urllib.error
    import urllib.request

    build(dataset, str(tmp_path), SHARDS, metric="l2", merge=False, workers=2, batch_size=1000)
    ray.serve.start(http_options={"port": 18321})
    handle = ray.serve.run(deployment(str(tmp_path), groups=2, replicas=1, refresh=0.0))

    def ask(body):
        request = urllib.request.Request("http://127.0.0.1:18321/", json.dumps(body).encode())
        return json.loads(urllib.request.urlopen(request, timeout=60).read())["answers"]

    queries = rows[::1000]
    answers = ask({"vectors": queries.tolist(), "k": 10, "ef": 200})
    assert recall([answer["keys"] for answer in answers], exact(rows, queries)) > 0.99
    assert [len(answer["distances"]) for answer in answers] == [10] * len(queries)
    keys, distances = handle.search.remote(queries, 3).result()
    assert keys.shape == distances.shape == (len(queries), 3)
    assert ask({"vectors": [rows[0].tolist()], "filter": [5, 17_000]})[0]["keys"] in ([5, 17_000], [17_000, 5])
    for wrong in [{"vectors": [[1.0]]}, {"queries": []}, {"vectors": [rows[0].tolist()], "filter": "year ="}, []]:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(wrong)
        assert refused.value.code == 400 and b"error" in refused.value.read()

    with Index.load(tmp_path / "shard-00000.nf") as index:
        index.remove(0)
        index.save(tmp_path / "shard-00000.nf")
    assert 0 not in ask({"vectors": [rows[0].tolist()]})[0]["keys"]


def test_an_unfinished_folder_is_refused(tmp_path):
    from nearfield._shards import Shards

    with pytest.raises(NotFoundError, match="no finished index"):
        Shards(str(tmp_path))
