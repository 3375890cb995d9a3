"""Shards built, merged and searched, with a stand-in for Ray: what `test_ray.py` does with processes, in a few seconds."""

import asyncio
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fsspec", reason="fsspec is not installed")

from nearfield import Collection, ConflictError, Index, InvalidInputError, NotFoundError

SETTINGS = {"metric": "l2", "quantization": "sq4", "batch_size": 700}


@pytest.fixture
def rays(monkeypatch):
    """The module `nearfield.ray` over the stand-in."""
    for name in [name for name in sys.modules if name.split(".")[0] == "ray" or name == "nearfield.ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(Path(__file__).parent / "shims")
    yield importlib.import_module("nearfield.ray")
    for name in [name for name in sys.modules if name.split(".")[0] == "ray" or name == "nearfield.ray"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def rows(vectors):
    """6,000 vectors: enough for a quantizer that is shared, and not for one of each shard."""
    random = np.random.default_rng(1)
    return np.concatenate([vectors, vectors + 0.2 * random.standard_normal(vectors.shape)]).astype(np.float32)


def files(folder):
    from nearfield._folder import fingerprint

    return {path.name: fingerprint(path) for path in folder.glob("*.nf")}


def recall(found, rows, queries):
    distances = ((queries[:, None] - rows[None]) ** 2).sum(axis=2)
    truth = np.argsort(distances, axis=1)[:, : found.shape[1]]
    return np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth)])


def test_a_build_in_steps_makes_the_files_of_one_at_once(rays, rows, tmp_path):
    dataset = rays.ray.data.Dataset({"vector": rows})
    once, steps, seen = tmp_path / "once", tmp_path / "steps", []
    manifest = rays.build(dataset, str(once), 3, progress=lambda *step: seen.append(step), **SETTINGS)
    assert seen[-4:] == [("shards", 2, 3), ("shards", 3, 3), ("merges", 1, 2), ("merges", 2, 2)]
    assert manifest["merged"] == "merged.nf" and set(manifest["attempts"].values()) == {1}
    # All shards have the codes of one quantizer.
    with Index.load(once / "shard-00001.nf") as shard:
        assert shard.stats()["code_bits"] == 4 and len(shard) == 2000 and shard.check()[0]

    rays.build(dataset, str(steps), 3, merge=False, **SETTINGS)
    (steps / "shard-00001.nf").unlink()
    # What a killed process leaves.
    (steps / "shard-00001.nf.begun-1-99").touch()
    (steps / ".nearfield-left").mkdir()
    manifest = rays.build(dataset, str(steps), 3, **SETTINGS)
    assert manifest["attempts"]["shard-00001.nf"] == 2
    assert files(once) == files(steps)
    names = ["manifest.json", "merged.nf", *(f"shard-0000{shard}.nf" for shard in range(3))]
    assert sorted(path.name for path in steps.iterdir()) == names

    with pytest.raises(ConflictError, match="other data or settings"):
        rays.build(dataset, str(steps), 3, metric="cosine")
    with pytest.raises(InvalidInputError, match="num_shards is 0"):
        rays.build(dataset, str(tmp_path / "none"), 0)
    with pytest.raises(InvalidInputError, match="6000 rows for 7000 shards"):
        rays.build(dataset, str(tmp_path / "none"), 7000)


def test_shards_and_the_merged_file_answer_alike(rays, rows, tmp_path):
    queries = rows[::100]
    for merge in [False, True]:
        rays.build(rays.ray.data.Dataset({"vector": rows}), str(tmp_path), 3, merge=merge, **SETTINGS)
        found = rays.search(rays.ray.data.Dataset({"vector": queries}), str(tmp_path), k=10, ef=200, batch_size=7)
        assert recall(found.columns["keys"], rows, queries) > 0.995
        assert (np.diff(found.columns["distances"], axis=1) >= 0).all()


def test_payloads_attributes_and_urls(rays, rows, tmp_path):
    text = np.array([f"row {at}".encode() for at in range(600)], object)
    columns = {"id": 10 * np.arange(600), "embedding": rows[:600], "text": text, "even": np.arange(600) % 2 == 0}
    # Files are copied to and from the folder of such a URL, as to and from an object store.
    url = f"simplecache::file://{tmp_path}/far"
    named = {"vector": "embedding", "key": "id", "payload": "text", "attributes": ["even"]}
    rays.build(rays.ray.data.Dataset(columns), url, 3, metric="l2", **named)
    with Collection(tmp_path / "far" / "merged.nf", read_only=True) as merged:
        assert merged.payload(70) == b"row 7" and merged.attributes(70) == {"even": False}
        assert len(merged.matching({"even": True})) == 300
    found = rays.search(rays.ray.data.Dataset({"vector": rows[:20]}), url, k=1, filter={"even": True})
    assert set((found.columns["keys"][:, 0] % 20).tolist()) == {0}
    with pytest.raises(NotFoundError, match="no finished index"):
        rays.search(rays.ray.data.Dataset({"vector": rows[:1]}), str(tmp_path / "none"))


def test_replicas_notice_a_replaced_shard(rays, rows, tmp_path):
    rays.build(rays.ray.data.Dataset({"vector": rows}), str(tmp_path), 3, merge=False, **SETTINGS)
    groups = [rays._Group(str(tmp_path), at, 2, 0.0, 1) for at in range(2)]
    front = rays._Front(*(SimpleNamespace(search=SimpleNamespace(remote=group.search)) for group in groups))
    keys, _ = asyncio.run(front.search(rows[::100], 10, ef=200))
    assert recall(keys, rows, rows[::100]) > 0.995
    with Index.load(tmp_path / "shard-00000.nf") as index:
        index.remove(0)
        index.save(tmp_path / "shard-00000.nf")
    keys, _ = asyncio.run(front.search(rows[:1], 3))
    assert 0 not in keys
