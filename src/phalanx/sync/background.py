"""The event loop behind the synchronous interface: one thread that runs it, and the ways in.

A thread that calls waits for a coroutine on that loop.  It can be interrupted (Ctrl-C): the coroutine is cancelled then,
as a task's would be.  Blocks (`async with`) need one task from their beginning to their end, since that is what the loss
of a lease cancels: `Block` gives each a task of its own, which the thread's `with` begins and ends.
"""

import asyncio
import concurrent.futures
import functools
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from phalanx.api.arguments import seconds_of
from phalanx.api.client import CLOSED
from phalanx.errors import Closed, OutcomeUnknown, PhalanxError
from phalanx.runtime.loop import loop_factory

A = TypeVar("A")
B = TypeVar("B")
P = ParamSpec("P")
R = TypeVar("R")


INTERRUPT_S_MAX = 0.5
"""A waiting thread looks this often whether it has been interrupted.  A signal that comes in the moment between the
interpreter's last look and its wait for a lock does not end that wait (CPython notices it when the wait is over)."""


class Background:
    """A thread with an event loop.  It is a daemon: one that is forgotten does not keep the interpreter alive."""

    def __init__(self) -> None:
        self._ready: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._stop: asyncio.Event
        self._closed = False
        self._door = threading.RLock()  # a signal's handler may call while its thread is in it
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="phalanx", daemon=True)
        self._thread.start()
        self._loop = self._ready.result()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._stop = asyncio.Event()
        self._ready.set_result(asyncio.get_running_loop())
        await self._stop.wait()

    @property
    def forked(self) -> bool:
        """This is a child of the process that has the thread: nothing can be asked of it, or is ours to close."""
        return os.getpid() != self._pid

    def submit(self, coroutine: Coroutine[Any, Any, R]) -> "concurrent.futures.Future[R]":
        """Begin it.  Raises `Closed` if the loop is closed, RuntimeError on the loop's own thread, which would wait
        for itself, and in a process that was forked from that of the loop."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("the synchronous interface was called from its own event loop, and would wait for ever")
        if self.forked:
            coroutine.close()
            raise RuntimeError(
                "this client was made before a fork, and its thread stayed behind: make one in this process"
            )
        with self._door:  # what comes behind the end of the loop is never begun, and would be waited for without end
            if not self._closed:
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise Closed(CLOSED)

    def call(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run it, and wait for its end.  Raises what it raises, and `OutcomeUnknown` if all was closed meanwhile."""
        return self.wait(self.submit(coroutine))

    def wait(self, future: "concurrent.futures.Future[R]") -> R:
        """As `call`, for what was submitted."""
        try:
            _until_one_is_done(future)
            return future.result()
        except concurrent.futures.CancelledError:
            raise OutcomeUnknown("the client was closed while the call was under way") from None
        except BaseException:
            future.cancel()  # for an interrupt: the call is given up; else it is over anyway
            raise

    def soon(self, action: Callable[[], object]) -> None:
        """Have the loop call it; nothing happens if the loop is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(action)

    def close(self) -> None:
        """Cancel what is under way, and wait for the end of the thread."""
        if self._closed or self.forked:
            return
        with self._door:
            self._closed = True
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


def _until_one_is_done(*futures: "concurrent.futures.Future[Any]") -> None:
    while not concurrent.futures.wait(futures, INTERRUPT_S_MAX, concurrent.futures.FIRST_COMPLETED).done:
        pass


class _BodyFailed(Exception):
    """Stands for what a `with` block raised, inside the task: that may be an interrupt, which must not end the loop."""


class Block(Generic[A, B]):
    """An asynchronous context manager as a synchronous one.

        with recipes.lock(store, b"door") as held: ...
        with recipes.lock(store, b"door").within(5.0) as held: ...     # TimeoutError if it takes longer to begin

    If what is held is lost while the block runs, the block goes on, since nothing can stop a thread: look at `lost`, or
    call `check`, where that matters.  At its end `LeaseLost` is raised (from what the block raised, if it did).
    """

    def __init__(
        self,
        background: Background,
        make: Callable[[], AbstractAsyncContextManager[A]],
        wrap: Callable[[A], B],
        wait_s: float | None = None,
    ) -> None:
        self._background = background
        self._make = make
        self._wrap = wrap
        self._wait_s = wait_s
        self._running: concurrent.futures.Future[None] | None = None
        self._value: B | None = None
        self._task: asyncio.Task[object] | None = None
        self._given_up = False

    def within(self, wait_s: float) -> "Block[A, B]":
        """The same, but give up if the block has not begun after so many seconds: TimeoutError.  Nothing is held then."""
        return Block(self._background, self._make, self._wrap, seconds_of(wait_s, "how long to wait for a block"))

    def __enter__(self) -> B:
        if self._running is not None:
            raise RuntimeError("this block has begun already: make a new one")
        self._leave = asyncio.Event()
        self._failed: BaseException | None = None
        begun: concurrent.futures.Future[A] = concurrent.futures.Future()
        try:
            self._running = running = self._background.submit(self._run(begun))
            _until_one_is_done(begun, running)
            if not begun.done():
                self._background.wait(running)
            value = self._value = self._wrap(begun.result())
            return value
        except BaseException:
            self._background.soon(self._give_up)  # an interrupt; or it failed, and is over
            raise

    def _give_up(self) -> None:
        """On the loop.  The thread may not have come to know what it had begun there."""
        self._given_up = True
        if self._task is not None and not self._task.cancelling():
            self._task.cancel()

    async def _run(self, begun: "concurrent.futures.Future[A]") -> None:
        if self._given_up:
            return
        self._task = asyncio.current_task()
        block = self._make()
        async with asyncio.timeout(self._wait_s) as limit, block as value:
            limit.reschedule(None)
            begun.set_result(value)
            await self._leave.wait()
            if self._failed is not None:
                raise self._failed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            if self._running is None:
                raise RuntimeError("this block has not begun: use it by `with`")
            if self._background.forked:
                return None  # what is held is held by the parent
            if isinstance(self._value, Bridged):
                self._value.over = True
            if kind is not None:
                self._failed = self._left_with(error if error is not None else kind())
            self._background.soon(self._leave.set)
            self._background.wait(self._running)
        except _BodyFailed:
            pass
        except PhalanxError:
            if error is None or isinstance(error, Exception):  # an interrupt is not to be hidden by what it led to
                raise
        except BaseException:
            self._background.soon(self._give_up)
            raise
        return None

    def _left_with(self, error: BaseException) -> BaseException:
        """What the asynchronous block is left with, where this one is left with that."""
        del error
        return _BodyFailed()


def calls(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["Bridged[A]", P], R]:
    """The method of an asynchronous class as one of its synchronous twin: same parameters, same result, same errors."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Bridged[A], /, *args: P.args, **kwargs: P.kwargs) -> R:
        # By its name, since a subclass may have another method of that name.
        bound: Callable[P, Coroutine[Any, Any, R]] = getattr(self.wrapped, name)
        return self.background.call(bound(*args, **kwargs))

    return call


def iterates(
    method: Callable[Concatenate[A, P], AsyncIterator[R]],
) -> Callable[Concatenate["Bridged[A]", P], Iterator[R]]:
    """As `calls`, for a method that returns an iterator."""

    @functools.wraps(method)
    def iterate(self: Bridged[A], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        return iterated(self.background, method(self.wrapped, *args, **kwargs))

    return iterate


def iterated(background: Background, items: AsyncIterator[R]) -> Iterator[R]:
    """The items as they come; each wait can be interrupted."""

    async def following() -> R:
        return await anext(items)

    while True:
        try:
            item = background.call(following())
        except StopAsyncIteration:
            return
        yield item


class Bridged(Generic[A]):
    """A synchronous object that stands for an asynchronous one on a background loop.  Any thread may use it."""

    def __init__(self, background: Background, wrapped: A) -> None:
        self.background = background
        self.wrapped = wrapped
        self.over = False
        """It is what a block holds, and the block has ended."""

    def __repr__(self) -> str:
        return f"<for threads: {self.wrapped!r}>"
