"""Indexes of Hugging Face datasets."""

import numpy as np
import pytest

pytest.importorskip("datasets", reason="datasets is not installed")

from datasets import Dataset

from nearfield.datasets import NearfieldIndex, attach


def test_nearest_examples_of_a_dataset(vectors, tmp_path):
    dataset = Dataset.from_dict({"text": [f"row {at}" for at in range(500)], "embedding": vectors[:500].tolist()})
    index = NearfieldIndex.of_column(dataset, "embedding", metric="l2", batch_size=200)
    attach(dataset, "vectors", index)
    assert dataset.is_index_initialized("vectors")
    scores, examples = dataset.get_nearest_examples("vectors", vectors[42], k=3)
    assert examples["text"][0] == "row 42" and scores[0] == 0 and len(scores) == 3
    total_scores, total_examples = dataset.get_nearest_examples_batch("vectors", vectors[:4], k=2)
    assert [found["text"][0] for found in total_examples] == ["row 0", "row 1", "row 2", "row 3"]
    result = dataset.search("vectors", vectors[1], k=1000)
    assert len(result.indices) == 500 and sorted(result.indices) == list(range(500))
    few = index.search_batch(vectors[:2], k=5, filter=[7])
    assert few.total_indices == [[7], [7]]
    index.save(tmp_path / "x.nf")
    assert NearfieldIndex.load(tmp_path / "x.nf").search(vectors[9], k=1).indices == [9]
    with pytest.raises(ValueError, match="no rows"):
        NearfieldIndex.of_column(Dataset.from_dict({"embedding": []}), "embedding")
    assert np.isclose(scores, np.sort(scores)).all()
