"""Coroutines that are cancelled at each point at which they wait, one point after the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, NamedTuple

PATIENCE_S = 10.0
"""For a task to end that was cancelled: it stops what hangs, and judges no speed."""

WAITING, WOKEN = "while it waits", "together with what it waits for"
"""When the cancellation comes.  `asyncio` gives the task the cancellation in both cases, and in the second loses what it
waited for: the result is there, and nobody else knows of it."""

Cuts = Mapping[int, str]
"""At which points of waiting, counted from 0, and when."""


class Run(NamedTuple):
    """What became of a coroutine."""

    task: "asyncio.Task[Any]"
    points: int
    """How often it waited."""
    cancelled: int
    """How many cancellations it was given."""
    cuts: Cuts


class _Counted(Coroutine[Any, Any, Any]):
    """The coroutine, and a count of the times it has waited."""

    def __init__(self, inner: Coroutine[Any, Any, Any], cuts: Cuts) -> None:
        self._inner = inner
        self._cuts = cuts
        self.points = 0
        self.cancelled = 0
        self.task: asyncio.Task[Any]

    def send(self, value: Any) -> Any:
        return self._waits(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._waits(self._inner.throw(*error))

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        raise AssertionError("it is for a task")

    def _waits(self, future: "asyncio.Future[Any] | None") -> "asyncio.Future[Any] | None":
        when = self._cuts.get(self.points)
        self.points += 1
        if when == WOKEN and future is not None:
            future.add_done_callback(self._cancel)  # before the task's own, so it comes with the result, and not after
        elif when is not None:
            asyncio.get_running_loop().call_soon(self._cancel, None)
        return future

    def _cancel(self, _: Any) -> None:
        self.cancelled += 1
        self.task.cancel()


async def run_cut(coroutine: Coroutine[Any, Any, Any], cuts: Cuts) -> Run:
    """Run it in a task that is cancelled there, and is over in bounded time."""
    counted = _Counted(coroutine, cuts)
    task = counted.task = asyncio.get_running_loop().create_task(counted)
    await asyncio.wait([task], timeout=PATIENCE_S)
    if not task.done():
        task.print_stack()
        raise AssertionError(f"{coroutine!r}, cancelled at {cuts}, goes on waiting")
    return Run(task, counted.points, counted.cancelled, cuts)


async def cut_everywhere(
    make: Callable[[], Coroutine[Any, Any, Any]], *, again: int = 0, points_max: int = 100
) -> AsyncIterator[Run]:
    """The runs of that coroutine: the first to its end, then cancelled at each point, and in the end once more at the
    following ones, up to so many further on."""
    whole = await run_cut(make(), {})
    yield whole
    whole.task.result()
    assert whole.points <= points_max, f"{whole.points} points are too many for a test"
    for point in range(whole.points):
        for when in (WAITING, WOKEN):
            yield await run_cut(make(), {point: when})
            for later in range(point + 1, point + 1 + again):
                for again_when in (WAITING, WOKEN):
                    yield await run_cut(make(), {point: when, later: again_when})
