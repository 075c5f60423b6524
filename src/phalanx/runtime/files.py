"""What a log asks of a directory: `Files`, and the real one.  Tests put one in its place that loses what was not synced.

Two things are durable apart from each other: the bytes of a file, once the file is synced, and that the file is there at
all, once the directory is (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
"""

import errno
import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """A flat directory.  Every method may raise OSError."""

    def names(self) -> list[str]:
        """The files that are there, sorted."""

    def read(self, name: str) -> bytes:
        """All of a file."""

    def create(self, name: str) -> None:
        """A new, empty file.  It may be gone after a power cut until `sync_directory` has returned."""

    def write(self, name: str, at: int, data: bytes) -> None:
        """Write at that offset.  Any part of it may be lost until `sync` has returned, and in any order."""

    def truncate(self, name: str, size: int) -> None:
        """What is behind that offset is gone; after a power cut it may be back until `sync` has returned."""

    def sync(self, name: str) -> None:
        """What was written to the file is durable."""

    def sync_directory(self) -> None:
        """Creations and removals are durable."""

    def remove(self, name: str) -> None:
        """The file is gone; after a power cut it may be back until `sync_directory` has returned."""

    def close(self) -> None:
        """Let go of what is open.  Idempotent."""


class PosixFiles:
    """`Files` in a directory, which is made if it is missing."""

    def __init__(self, directory: Path, *, make: bool = True) -> None:
        """`make` False: FileNotFoundError if it is missing, for those who only look."""
        self.directory = directory
        self._open: dict[str, int] = {}
        if make:
            make_directory(directory)
            sync_directory(directory.parent)  # also if a life before this one made it: it may not have come to that
        elif not directory.is_dir():
            raise FileNotFoundError(f"there is no directory {directory}")

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def create(self, name: str) -> None:
        self.close()  # a log writes to its newest file only
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._open[name] = os.open(self.directory / name, flags, 0o600)

    def descriptor(self, name: str) -> int:
        """Of the open file, for those who sync it otherwise."""
        if name not in self._open:
            self._open[name] = os.open(self.directory / name, os.O_RDWR | os.O_CLOEXEC)
        return self._open[name]

    def write(self, name: str, at: int, data: bytes) -> None:
        file = self.descriptor(name)
        with memoryview(data) as rest:
            done = 0
            while done < len(rest):
                done += os.pwrite(file, rest[done:], at + done)

    def truncate(self, name: str, size: int) -> None:
        os.ftruncate(self.descriptor(name), size)

    def sync(self, name: str) -> None:
        _fdatasync(self.descriptor(name))  # it syncs the length, too

    def sync_directory(self) -> None:
        sync_directory(self.directory)

    def remove(self, name: str) -> None:
        if name in self._open:
            os.close(self._open.pop(name))
        (self.directory / name).unlink()

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


def make_directory(directory: Path) -> None:
    """Make it, and those above it, unless it is there; what was made is durable.  Raises NotADirectoryError if it is a
    file, and OSError."""
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, and must be a directory", str(directory)) from None
    for each in made:
        sync_directory(each.parent)


def sync_directory(directory: Path) -> None:
    """What was created, removed and renamed in it is durable."""
    file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


_fdatasync = getattr(os, "fdatasync", os.fsync)
