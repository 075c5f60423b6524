"""Methods that hold up their node are told of, with their names."""

import logging
import time
from typing import NamedTuple

import pytest

import phalanx
from phalanx.api.slow import AGAIN_NS, Slow
from phalanx.group.config import Timing
from phalanx.model.clock import MILLISECOND
from phalanx.model.replicated import OUTSIDE, feed
from phalanx.replication.objects import describe
from phalanx.services.store.kv import KV
from tests.api.cluster import TIMING


class Sums:
    """Some of its methods take their time."""

    total: int = 0

    @phalanx.command
    def add(self, ms: int) -> None:
        self._work(ms)

    @phalanx.command
    def fail(self, ms: int) -> None:
        self._work(ms)
        raise ValueError("too much")

    @phalanx.query
    def read(self, ms: int) -> int:
        self._work(ms)
        return self.total

    def _work(self, ms: int) -> None:
        until = time.monotonic_ns() + ms * MILLISECOND
        while time.monotonic_ns() < until:
            pass


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "heartbeat" in r.getMessage()]


def test_what_takes_longer_than_a_heartbeat_is_told_of_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    slow = TIMING.heartbeat // MILLISECOND + 1

    async def story() -> None:
        async with phalanx.local(2, objects={"Sums": (Sums, 0)}, timing=TIMING) as cluster:
            sums = cluster.client(names=["a"]).object(Sums)
            await sums.call(Sums.read, slow)
            assert cluster["a"].status.slow["Sums.read"] == 1
            for _ in range(2):
                await sums.call(Sums.add, slow)
            assert cluster["a"].status.slow["Sums.add"] == 2
            with pytest.raises(ValueError, match="too much"):
                await sums.call(Sums.fail, slow)
            told = [text for text in warnings(caplog) if text.startswith("a: Sums.add took ")]
            assert len(told) == 1 and "longer than a heartbeat (20 ms; so far 1 times)" in told[0]
            assert cluster["a"].status.slow["Sums.fail"] == 1
            assert any(text.startswith("b: Sums.add took ") for text in warnings(caplog)), "at every host"

    phalanx.run(story())


def test_hooks_feeds_and_conversions_are_timed_and_the_store_is_not() -> None:
    now = 0

    def work(*_: object) -> None:
        nonlocal now
        now += 51 * MILLISECOND

    class Fed(NamedTuple):
        events: list[int]
        position: int
        more: bool

    class Before:
        count: int = 0

        @phalanx.query
        def read(self) -> int:
            return self.count

    @phalanx.version(2, replaces=Before)
    class After(Before):
        def due_ms(self) -> int | None:
            return None

        def tick(self, context: phalanx.Context) -> None:
            work(context)

        def recovered(self, context: phalanx.Context) -> None:
            work(context)

        def upgrade(self, former: Before) -> None:
            work(former)

        def position(self) -> int:
            return 0

        def touched(self, position: int) -> set[bytes]:
            return {b"%d" % position}

        @feed()
        def changes(self, position: int, start: bytes, end: bytes | None) -> list[int]:
            work(start, end)
            return Fed([], position, False)  # type: ignore[return-value]  # what it says has a codec

    counts: dict[str, int] = {}
    watch = Slow("a", Timing(), counts, clock=lambda: now).watch
    kind, store = watch(describe(After)), watch(describe(KV))
    assert kind.tick is not None and kind.recovered is not None
    for hook in (kind.tick, kind.recovered):
        hook.run(After(), (), OUTSIDE)
    kind.converted(Before(), 1)
    kind.operation(After.changes).feed(After(), (b"", None), 0)
    assert counts == dict.fromkeys([f"After.{name}" for name in ("tick", "recovered", "upgrade", "changes")], 1)
    assert {operation.watcher for operation in store.operations.values()} == {None}


def test_it_is_told_again_after_a_while_and_never_of_what_is_quick(caplog: pytest.LogCaptureFixture) -> None:
    now = 0
    counts: dict[str, int] = {}
    kind = Slow("a", Timing(), counts, clock=lambda: now).watch(describe(Sums))

    class Slowed(Sums):
        def _work(self, ms: int) -> None:
            nonlocal now
            now += ms * MILLISECOND

    read = kind.operation(Sums.read)
    for ms, pause in ((50, 0), (51, 0), (51, AGAIN_NS - 52 * MILLISECOND), (51, 0), (51, 0)):
        read.run(Slowed(), (ms,), OUTSIDE)
        now += pause
    assert counts == {"Sums.read": 4}
    assert [text[:50] for text in warnings(caplog)] == ["a: Sums.read took 51 ms, longer than a heartbeat ("] * 2
