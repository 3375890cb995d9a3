"""The stubs: complete, as the extension is, and strict programs pass."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy checks the stubs")

SAMPLE = '''
from pathlib import Path

import numpy as np
import numpy.typing as npt

import nearfield


def build(vectors: npt.NDArray[np.float32], folder: Path) -> list[tuple[str, float]]:
    index = nearfield.Index(vectors.shape[1], metric="cosine", quantization="sq4", m=16)
    index.add(np.arange(len(vectors)), vectors, progress=lambda done, total: None)
    hits = index.search(vectors[0], k=3, filter={1, 2, 3}, exclude=[5])
    keys: npt.NDArray[np.uint64] = hits.keys
    distances: npt.NDArray[np.float32] = hits[1]
    index.search(vectors.tolist(), filter=lambda key: key % 2 == 0, recall=0.9)
    assert keys.shape == distances.shape
    named: list[tuple[str, float]] = []
    with nearfield.Collection(folder / "x.nf", dimension=3, metric="l2") as collection:
        with collection.write() as tx:
            key: int = tx.upsert("a", [0.1, 0.2, 0.3], payload=b"text", attributes={"year": 2024, "tags": ["x"]})
            many: npt.NDArray[np.uint64] = tx.upsert(["b", "c"], vectors[:2])
        record = collection.record(key)
        if record is not None and isinstance(record.name, str):
            named.append((record.name, float(distances[0])))
        for found in collection.matching({"year": {"$gte": 2020}}):
            named.append((str(found + int(many[0])), 0.0))
    try:
        nearfield.Flat.load("none").search(vectors)
    except nearfield.NotFoundError as error:
        print(error)
    return named
'''

WRONG = '''
import nearfield

index = nearfield.Index("32")
index.search([1.0], k="ten")
nearfield.Collection("x.nf", metric="euclid")
'''


def mypy(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *options, str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=path.parent)


def test_a_strict_program_passes(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    result = mypy(sample)
    assert result.returncode == 0, result.stdout


def test_wrong_programs_do_not(tmp_path: Path) -> None:
    sample = tmp_path / "wrong.py"
    sample.write_text(WRONG)
    result = mypy(sample)
    assert result.stdout.count(": error:") == 3, result.stdout


def test_the_stubs_are_those_of_the_extension(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "nearfield._nearfield"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
