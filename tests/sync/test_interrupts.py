"""A thread that waits in the synchronous interface can be interrupted, whenever it is."""

import _thread
import asyncio
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import pytest

import phalanx
from phalanx import sync
from phalanx.sync import background as background_module
from phalanx.sync import recipes
from phalanx.sync.background import Background, Block
from tests.api.cluster import PATIENCE_S, TIMING


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Shells start what runs in the background with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_wait_can_be_interrupted_and_leaves_nothing_behind() -> None:
    with sync.local(3, objects={"KV": (phalanx.KV, 0)}, timing=TIMING) as cluster:
        interrupt_a_wait(cluster.client(PATIENCE_S).kv())


def interrupt_a_wait(store: sync.Store) -> None:
    main = threading.get_ident()
    with recipes.lock(store, b"door") as held:
        line = held.key.rpartition(b"/")[0] + b"/"

        def interrupt() -> None:
            with store.watch(line, prefix=True, after=held.created) as changes:
                next(changes)  # the other stands in the line now
            signal.pthread_kill(main, signal.SIGINT)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(interrupt)
            with pytest.raises(KeyboardInterrupt), recipes.lock(store, b"door"):
                raise AssertionError("it was held")
        with store.watch(line, prefix=True, after=held.created, puts=False) as changes:
            assert next(changes).key != held.key, "the interrupted one has left the line"


def test_an_interrupt_that_does_not_wake_the_thread_is_noticed_all_the_same() -> None:
    """As when a signal comes in the moment before the thread begins to wait: it is pending, and wakes nobody."""

    async def interrupted() -> None:
        _thread.interrupt_main()
        await asyncio.Event().wait()

    background = Background()
    try:
        with pytest.raises(KeyboardInterrupt):
            background.call(interrupted())
        with pytest.raises(KeyboardInterrupt), a_block(background, interrupted):
            raise AssertionError("it never begins")
    finally:
        background.close()


def a_block(background: Background, begin: Callable[[], Coroutine[Any, Any, None]]) -> Block[None, None]:
    @asynccontextmanager
    async def block() -> AsyncIterator[None]:
        await begin()
        yield

    return Block(background, block, lambda _: None)


def test_what_is_asked_while_the_client_is_closed_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came behind the end of the loop was never begun, and its thread waited without end, or was told of a loop."""
    background = Background()
    closing = threading.Thread(target=background.close)
    submit = asyncio.run_coroutine_threadsafe

    def late(coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> "Future[Any]":
        closing.start()
        closing.join(0.2)  # it has the time to overtake
        return submit(coroutine, loop)

    async def ask() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", late)
    with pytest.raises(phalanx.OutcomeUnknown):
        background.call(ask())
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    with pytest.raises(phalanx.Closed):
        background.call(ask())


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # of what was not yet begun
def test_a_block_is_left_at_whichever_line_its_thread_is_interrupted() -> None:
    """But for the first of `__exit__`: before that the interpreter may be interrupted as well."""
    held: set[int] = set()

    @asynccontextmanager
    async def hold(number: int) -> AsyncIterator[None]:
        held.add(number)
        try:
            yield
        finally:
            held.discard(number)

    def use(number: int) -> None:
        with Block(background, lambda: hold(number), lambda _: None):
            pass

    async def nothing() -> None:
        await asyncio.sleep(0)

    background = Background()
    before = sys.gettrace()
    try:
        for line in range(200):
            interrupting = Interrupting(line)
            sys.settrace(interrupting)
            try:
                use(line)
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(before)
            for _ in range(10):  # turns of the loop
                background.call(nothing())
            assert not held, f"interrupted at {interrupting.where}"
            if interrupting.where is None:
                break
        assert line > 20
    finally:
        background.close()


class Interrupting:
    """Traces a thread, and interrupts it at that line of the module under test."""

    def __init__(self, line: int) -> None:
        self._left = line
        self._begins = False
        self.where: tuple[str, int] | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> "Interrupting | None":
        del arg
        if frame.f_code.co_filename != background_module.__file__:
            return None
        if event == "call":
            self._begins = frame.f_code.co_name == "__exit__"
        if event == "line" and self.where is None:
            if self._begins:
                self._begins = False
                return self
            self._left -= 1
            if self._left < 0:
                self.where = frame.f_code.co_name, frame.f_lineno
                raise KeyboardInterrupt
        return self
