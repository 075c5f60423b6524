"""A directory that forgets at a power cut what was not synced, in every way that a file system is allowed to.

`PowerFiles` does what it is told and remembers the order.  `after_power_cut(n, rng)` is the directory as a power cut
after the first n operations may leave it: what was synced by then is there; of the rest any part, page by page, of the
bytes, and any of the creations and removals.
"""

import random
from collections.abc import Iterable
from typing import NamedTuple

PAGE = 512

CONTENT = frozenset({"write", "truncate"})
"""Operations on the bytes of a file."""


class Operation(NamedTuple):
    """One call: what, of which file, with what."""

    what: str
    name: str = ""
    at: int = 0
    data: bytes = b""


class PowerFiles:
    """`runtime.files.Files` in memory."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {name: bytearray(data) for name, data in (files or {}).items()}
        self.begun_with = {name: bytes(data) for name, data in self.files.items()}
        self.done: list[Operation] = []
        self.fail_at: int | None = None
        """The operation of that number raises OSError, as do all after it."""

    def _do(self, operation: Operation) -> None:
        if self.fail_at is not None and len(self.done) >= self.fail_at:
            raise OSError(5, "Input/output error")
        self.done.append(operation)

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return bytes(self.files[name])

    def create(self, name: str) -> None:
        self._do(Operation("create", name))
        assert name not in self.files
        self.files[name] = bytearray()

    def write(self, name: str, at: int, data: bytes) -> None:
        self._do(Operation("write", name, at, bytes(data)))
        _put(self.files[name], at, data)

    def truncate(self, name: str, size: int) -> None:
        self._do(Operation("truncate", name, size))
        del self.files[name][size:]

    def sync(self, name: str) -> None:
        self._do(Operation("sync", name))
        assert name in self.files

    def sync_directory(self) -> None:
        self._do(Operation("sync directory"))

    def remove(self, name: str) -> None:
        self._do(Operation("remove", name))
        del self.files[name]

    def close(self) -> None:
        """Nothing is open."""

    def after_power_cut(self, count: int, rng: random.Random) -> dict[str, bytes]:
        """What may be left when power fails after the first `count` operations."""
        contents = {name: bytearray(data) for name, data in self.begun_with.items()}
        listed = set(contents)
        waiting: list[Operation] = []
        for operation in self.done[:count]:
            if operation.what == "sync":
                mine = [o for o in waiting if o.name == operation.name and o.what in CONTENT]
                waiting = [o for o in waiting if o not in mine]
                _write(contents, mine)
            elif operation.what == "sync directory":
                listed = _listed(listed, (o for o in waiting if o.what not in CONTENT))
                waiting = [o for o in waiting if o.what in CONTENT]
            else:
                waiting.append(operation)
        for operation in waiting:
            if operation.what == "write":
                _write(contents, _torn(operation, rng))
            elif operation.what == "truncate":
                _write(contents, [operation] if rng.random() < 0.5 else [])
            elif rng.random() < 0.5:
                listed = _listed(listed, [operation])
        return {name: bytes(contents.get(name, b"")) for name in sorted(listed)}


def _put(file: bytearray, at: int, data: bytes) -> None:
    if len(file) < at:
        file += bytes(at - len(file))
    file[at : at + len(data)] = data


def _write(contents: dict[str, bytearray], operations: Iterable[Operation]) -> None:
    for o in operations:
        if o.what == "truncate":
            del contents.setdefault(o.name, bytearray())[o.at :]
            continue
        _put(contents.setdefault(o.name, bytearray()), o.at, o.data)


def _listed(listed: set[str], operations: Iterable[Operation]) -> set[str]:
    for o in operations:
        listed = listed | {o.name} if o.what == "create" else listed - {o.name}
    return listed


def _torn(operation: Operation, rng: random.Random) -> list[Operation]:
    """Some pages of the write arrived, the last perhaps in part."""
    shape, data = rng.random(), operation.data
    if shape < 0.2:
        return []
    if shape < 0.5:
        return [operation._replace(data=data[: rng.randrange(len(data) + 1)])]
    out = []
    for start in range(0, len(data), PAGE):
        if rng.random() < 0.6:
            out.append(operation._replace(at=operation.at + start, data=data[start : start + PAGE]))
    return out
