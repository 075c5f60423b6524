"""A small ext4 file system in a file, whose power can be cut, and which can be made to stall.  Linux, as root."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE_BYTES = 96 << 20

_SHUTDOWN, _FREEZE, _THAW = 0x8004587D, 0xC0045877, 0xC0045878
"""EXT4_IOC_SHUTDOWN, FIFREEZE, FITHAW."""

_WITHOUT_FLUSH = 2
"""Neither the journal nor anything else is written any more (EXT4_GOING_FLAGS_NOLOGFLUSH)."""


class FileSystem:
    """Mounted at `directory` as long as it lives.  Skips the test where that cannot be."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._image = directory.with_name(f"{directory.name}.ext4")
        with self._image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        self._mounted = False
        self._can(["mkfs.ext4", "-q", "-F", str(self._image)])
        self.mount()

    def _can(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            pytest.skip(f"there is no {error.filename}")
        if done.returncode:
            pytest.skip(f"cannot have a file system of its own: {done.stderr.strip()}")

    def mount(self) -> None:
        """Also after a cut: the journal is replayed."""
        self._can(["mount", "-o", "loop", str(self._image), str(self.directory)])
        self._mounted = True

    def unmount(self) -> None:
        """When nobody uses it any more."""
        subprocess.run(["umount", str(self.directory)], check=True)
        self._mounted = False

    def cut_power(self) -> None:
        """What was synced stays, and nothing else will come to be: every later read, write and fsync fails with EIO."""
        self._control(_SHUTDOWN, _WITHOUT_FLUSH)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Writes and fsyncs do not return before the block is over; nor can a process be killed that waits for one."""
        self._control(_FREEZE, 0)
        try:
            yield
        finally:
            self._control(_THAW, 0)

    def _control(self, request: int, argument: int) -> None:
        root = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.ioctl(root, request, struct.pack("I", argument))
        finally:
            os.close(root)

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)
