"""A folder of files that several machines reach: on a shared disk, or by a URL of fsspec."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

# The first bytes of the slots that tell where a file's parts are.
_SLOT = b"nrfld\r\n\x1a"

# Folders of files that are not whole yet.
_UNFINISHED = ".nearfield-"


class Folder:
    """A folder of files, each of which is whole once it has its name."""

    def __init__(self, path: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(str(path))
        self._is_local = isinstance(self._fs, LocalFileSystem)
        # An absolute path: workers run in other folders.
        self.path = self._root if self._is_local else str(path)
        self._fs.makedirs(self._root, exist_ok=True)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"

    def exists(self, name: str) -> bool:
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._at(name)))

    def version(self, name: str) -> str:
        """Returns a text that is another one after the file was replaced."""
        self._fs.invalidate_cache()
        return str(self._fs.ukey(self._at(name)))

    def remove(self, name: str) -> None:
        if self.exists(name):
            self._fs.rm(self._at(name))

    def read_json(self, name: str) -> Any:
        """Returns what a JSON file means, or None if it does not exist."""
        return json.loads(self._fs.cat_file(self._at(name))) if self.exists(name) else None

    def write_json(self, name: str, value: Any) -> None:
        with self.new(name) as file:
            file.write_text(json.dumps(value, indent=1), encoding="utf-8")

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """Yields the path of a file on this machine, which is put into the folder at the end, unless an exception is raised."""
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=self._root if self._is_local else None) as place:
            file = Path(place) / name
            yield file
            if self._is_local:
                os.replace(file, self._at(name))
            else:
                self._fs.put_file(str(file), self._at(name))

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """Yields the path of a file of the folder on this machine: a copy, if the folder is elsewhere."""
        if self._is_local:
            yield Path(self._at(name))
            return
        with tempfile.TemporaryDirectory(prefix="nearfield-") as place:
            file = Path(place) / name
            self._fs.get_file(self._at(name), str(file))
            yield file

    def begin(self, name: str) -> int:
        """Notes that this process makes a file. Returns the number of its attempts; those before ended without the file."""
        self._fs.invalidate_cache()
        marks = self._fs.glob(self._at(f"{name}.begun-*"))
        self._fs.pipe_file(self._at(f"{name}.begun-{len(marks) + 1}-{os.getpid()}"), b"")
        return len(marks) + 1

    def end(self, name: str) -> None:
        """Takes the notes of `begin` away."""
        self._fs.invalidate_cache()
        for mark in self._fs.glob(self._at(f"{name}.begun-*")):
            self._fs.rm(mark)

    def tidy(self) -> None:
        """Removes what lost processes left. No process may be making a file."""
        self._fs.invalidate_cache()
        for mark in self._fs.glob(self._at("*.begun-*")):
            self._fs.rm(mark)
        if self._is_local:
            for place in Path(self._root).glob(f"{_UNFINISHED}*"):
                shutil.rmtree(place)


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Returns a hash of a file of nearfield, without the identity that each file is given: files of the same content have the same."""
    content = bytearray(Path(path).read_bytes())
    at = content.find(_SLOT)
    while at >= 0:
        # Identity, salt and chain of the log, and the checksum over these.
        for first, end in ((16, 32), (56, 72), (248, 256)):
            content[at + first : at + end] = bytes(end - first)
        at = content.find(_SLOT, at + 256)
    return hashlib.sha256(content).hexdigest()
