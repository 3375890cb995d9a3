"""Shard files that are opened for reading and searched as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import Collection, NotFoundError
from ._folder import Folder

MANIFEST = "manifest.json"

Answers = tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]


def merged(answers: Sequence[Answers], k: int) -> Answers:
    """Returns the nearest `k` of the answers of several shards, by distance and then by key."""
    keys = np.concatenate([keys for keys, _ in answers], axis=1)
    distances = np.concatenate([distances for _, distances in answers], axis=1)
    # Places without an answer are NaN, which is sorted behind all numbers.
    order = np.lexsort((keys, distances), axis=1)[:, :k]
    return np.take_along_axis(keys, order, 1), np.take_along_axis(distances, order, 1)


class Shards:
    """The shards that the manifest of a folder names, or each `groups`th of them; the merged file in place of all."""

    def __init__(self, path: str, group: int = 0, groups: int = 1) -> None:
        self._folder, self._group, self._groups = Folder(path), group, groups
        self._open: dict[str, Collection] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Opens shards that were replaced. Returns whether one was. Searches that run end with the old ones."""
        manifest = self._folder.read_json(MANIFEST)
        if manifest is None or not manifest["shards"]:
            raise NotFoundError(f"{self._folder.path} has no finished index: `build` writes {MANIFEST}")
        is_whole = manifest["merged"] is not None and self._groups == 1
        names = [manifest["merged"]] if is_whole else manifest["shards"][self._group :: self._groups]
        versions = [f"{name} {self._folder.version(name)}" for name in names]
        if versions == list(self._open):
            return False
        opened = {}
        for name, version in zip(names, versions):
            opened[version] = self._open.get(version) or self._opened(name)
        self._open = opened
        return True

    def _opened(self, name: str) -> Collection:
        # The copy of a file that is elsewhere loses its name once it is open.
        with self._folder.local(name) as file:
            return Collection(file, read_only=True)

    def search(self, queries: npt.NDArray[Any], k: int = 10, **options: Any) -> Answers:
        """Returns the keys and distances of the `k` nearest vectors of all shards, a row for each query."""
        hits = [collection.search(queries, k, **options) for collection in self._open.values()]
        return merged([(hit.keys, hit.distances) for hit in hits], k)

    def __len__(self) -> int:
        return sum(len(collection) for collection in self._open.values())
