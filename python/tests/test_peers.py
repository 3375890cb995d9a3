"""The tests of hnswlib and usearch, unmodified, over the shims of this folder.

NEARFIELD_PEERS names a folder with clones of their repositories, `hnswlib` and `USearch`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SHIMS = Path(__file__).parent / "shims"
PEERS = Path(os.environ.get("NEARFIELD_PEERS", "none"))

# Of usearch's tests, those of what nearfield lacks: clusters, several vectors a key, `f64`, integers and floats of 8 bits as elements of
# floats, vectors that stay in the caller's memory.
LACKING = " or ".join(
    "clustering mini_floats copied_memory duplicates missing_keys[True] F64 E5M2 E4M3 E3M2 E2M3 U8".split()
)


def run(arguments: list[str], folder: Path, *more: Path) -> str:
    paths = os.pathsep.join(str(path) for path in (SHIMS, *more))
    environment = {**os.environ, "PYTHONPATH": paths}
    result = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=environment)
    output = result.stdout[-4000:] + result.stderr[-4000:]
    assert result.returncode == 0, output
    return output


@pytest.mark.skipif(not (PEERS / "hnswlib").is_dir(), reason="NEARFIELD_PEERS has no clone of hnswlib")
def test_the_tests_of_hnswlib_pass(tmp_path: Path) -> None:
    tests = PEERS / "hnswlib" / "tests" / "python"
    modules = sorted(path.stem for path in tests.glob("bindings_test*.py"))
    assert len(modules) >= 11
    output = run(["-m", "unittest", *modules], tmp_path, tests)
    print(output.splitlines()[-3:])
    assert re.search(r"Ran 1[3-9] tests", output)


@pytest.mark.skipif(not (PEERS / "USearch").is_dir(), reason="NEARFIELD_PEERS has no clone of USearch")
def test_the_tests_of_usearch_pass(tmp_path: Path) -> None:
    tests = PEERS / "USearch" / "python" / "scripts" / "test_index.py"
    output = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), "--rootdir", str(tmp_path), "-k", f"not ({LACKING})"], tmp_path)
    print(output.splitlines()[-3:])
    assert re.search(r"\d{3} passed", output)
