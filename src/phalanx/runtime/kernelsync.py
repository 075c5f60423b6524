"""fdatasync off the loop without a thread of ours: Linux has threads of its own for that.

A thread in Python costs two hand-overs of the interpreter for each fsync, which on three nodes of two cores are nearly as
long as the fsync itself (p50 of write and sync: 158 us without any hand-over, 205 us here, 305 us by a thread).  Here
the request goes to the kernel (io_uring, since Linux 5.1), and the loop is told by an eventfd.  The older way,
`io_submit`, takes 178 us, but a process that has used it keeps its connections for 30 ms after it was killed, and for
so long nobody would notice.
"""

import asyncio
import os

from phalanx.runtime.contract import Stored

try:
    from caio.linux_uring import Context, Operation
except ImportError:  # another system, or the library has none of its compiled modules there
    AVAILABLE = False
else:
    AVAILABLE = True

REQUESTS_MAX = 8
"""Under way at once.  A log has one."""


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
        request = _Request(self._loop, done)
        operation = Operation.fdsync(file)
        operation.set_callback(request)
        try:
            self._context.submit(operation)
            self._context.flush()
        except (OSError, SystemError, OverflowError) as error:  # by the kernel's answer
            request.refused = True
            raise OSError(f"the kernel does not take an fsync: {error}") from error
        finally:
            request.asking = False

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


class _Request:
    """What the library calls with a sync's result.

    An object, and no function that names itself: that would be a cycle, which keeps what was written until garbage is
    collected, and servers collect it rarely.
    """

    __slots__ = ("_done", "_loop", "asking", "refused")

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Stored) -> None:
        self._loop = loop
        self._done = done
        self.asking = True
        """The kernel is being asked."""
        self.refused = False

    def __call__(self, result: int) -> None:
        if self.asking:  # within `flush`: there was nothing to do
            self._loop.call_soon(self, result)
        elif not self.refused:
            self._done(_error(result))


def kernel_sync() -> KernelSync | None:
    """None where the system has no such thing, or does not let us have it, as in many containers."""
    if not AVAILABLE:
        return None
    try:
        return KernelSync(Context(REQUESTS_MAX))
    except (OSError, SystemError):  # the library raises the latter for errors of system calls
        return None


def _error(result: int) -> OSError | None:
    """The library gives a negative number of the kernel's with or without its sign."""
    if 0 <= result < 1 << 63:
        return None
    number = -result if result < 0 else (1 << 64) - result
    return OSError(number, os.strerror(number))
