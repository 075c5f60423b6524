"""A backup's file in the making: under another name until it is whole and durable."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from phalanx.errors import ConfigurationError
from phalanx.runtime.files import sync_directory

P = ParamSpec("P")
R = TypeVar("R")

SUFFIX = ".part"


class PartFile:
    """`path` + ".part", which `publish` makes durable and renames to `path`.  Only its owner may read it: it holds what
    the store holds.

    Raises `ConfigurationError` if either is there already and `overwrite` is not asked for, or `path` is a directory or a
    device; and OSError.
    """

    def __init__(self, path: Path, overwrite: bool) -> None:
        self._path = path
        if path.exists() and not path.is_file():  # a file would take the place of a device, say
            raise ConfigurationError(f"{path} is there, and is no file: it is never overwritten")
        self._part = path.with_name(path.name + SUFFIX)
        self._overwrite = overwrite
        self._refuse_to_overwrite()
        if overwrite:
            self._part.unlink(missing_ok=True)
        try:
            file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise ConfigurationError(
                f"{self._part} is there: another backup is being written, or one was interrupted; remove it, or say "
                "that it may be overwritten"
            ) from None
        self._file = os.fdopen(file, "wb")

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)

    def publish(self) -> None:
        """All is written: make it durable, and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._refuse_to_overwrite()
        self._part.replace(self._path)
        sync_directory(self._path.parent)

    def abandon(self) -> None:
        """It is not wanted: leave nothing behind.  A full disk is no reason to fail here."""
        try:
            self._file.close()
        except OSError:
            pass  # what could not be written is not wanted
        self._part.unlink(missing_ok=True)

    def _refuse_to_overwrite(self) -> None:
        if not self._overwrite and self._path.exists():
            raise ConfigurationError(f"{self._path} is there already, and is not overwritten unless that is asked for")


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run what waits for a disk in a thread.  Who is cancelled, however often, waits for its end: nothing goes on behind
    its back."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # which nobody asks for any more
        raise
