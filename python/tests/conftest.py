"""Data and files of the tests."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="session")
def vectors() -> Floats:
    """3,000 vectors of 32 components, in 30 clusters."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((30, 32))
    rows = centres[np.arange(3000) % 30] + 0.4 * random.standard_normal((3000, 32))
    return rows.astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.nf"
