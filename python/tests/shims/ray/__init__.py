"""A stand-in for Ray that runs every task and actor at once, in this process: `nearfield.ray` without a cluster.

`test_ray.py` has the same steps with processes of Ray itself, which are lost and begun again.
"""

from __future__ import annotations

import pickle
from typing import Any

from . import data as data


class Ref:
    """A value that is pickled on its way, as between processes."""

    def __init__(self, value: Any) -> None:
        self._pickled = pickle.dumps(value)

    def get(self) -> Any:
        return pickle.loads(self._pickled)


class Task:
    def __init__(self, function: Any) -> None:
        self._function = function

    def options(self, **_: Any) -> Task:
        return self

    def remote(self, *arguments: Any) -> Ref:
        return Ref(self._function(*(value.get() if isinstance(value, Ref) else value for value in arguments)))


put, remote = Ref, Task


def get(value: Any) -> Any:
    return [one.get() for one in value] if isinstance(value, list) else value.get()


def wait(refs: list[Ref]) -> tuple[list[Ref], list[Ref]]:
    return refs[:1], refs[1:]


def cluster_resources() -> dict[str, float]:
    return {"CPU": 2.0}
