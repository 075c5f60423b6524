"""fdatasync off the loop without a thread of ours: Linux has threads of its own for that.

A thread in Python costs two hand-overs of the interpreter for each fsync, which on three nodes of two cores are nearly as
long as the fsync itself (p50 of write and sync: 158 us without any hand-over, 178 us here, 305 us by a thread).  Here
the request goes to the kernel (`io_submit`, since Linux 4.18), and the loop is told by an eventfd.
"""

import asyncio
import os

from phalanx.runtime.contract import Stored

try:
    from caio.linux_aio import Context, Operation
except ImportError:  # another system, or the library has none of its compiled modules there
    AVAILABLE = False
else:
    AVAILABLE = True

REQUESTS_MAX = 8
"""Under way at once.  A log has one; the kernel's limit for all processes is small (`fs.aio-max-nr`)."""


class KernelSync:
    """Syncs files, and tells the loop that was running when the first sync began.  Made by `kernel_sync`."""

    def __init__(self, context: "Context") -> None:
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None

    def sync(self, file: int, done: Stored) -> None:
        """Have the file's data, and its length, made durable; `done` is called later, on the loop.

        Raises OSError if the kernel does not take the request; `done` is not called then.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._context.fileno, self._ready)
        operation = Operation.fdsync(file)
        operation.set_callback(lambda result: done(_error(result)))
        try:
            taken = self._context.submit(operation)
        except (OSError, SystemError, ValueError) as error:  # by the kernel's answer
            raise OSError(f"the kernel does not take an fsync: {error}") from error
        if not taken:
            raise OSError("the kernel does not take an fsync now")

    def _ready(self) -> None:
        try:
            self._context.poll()
        except BlockingIOError:  # told for an event that was taken with the one before
            pass
        self._context.process_events()

    def close(self) -> None:
        """Not with a sync under way.  Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._context.fileno)
            self._loop = None


def kernel_sync() -> KernelSync | None:
    """None where the system has no such thing, or does not let us have it."""
    if not AVAILABLE:
        return None
    try:
        return KernelSync(Context(REQUESTS_MAX))
    except (OSError, SystemError):  # the library raises the latter for errors of system calls
        return None


def _error(result: int) -> OSError | None:
    """The library gives a negative number of the kernel's as it looks without a sign."""
    if result < 1 << 63:
        return None
    number = (1 << 64) - result
    return OSError(number, os.strerror(number))
