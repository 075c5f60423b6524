"""Time passes for replicated objects, also when nothing else is ordered (DESIGN section 9)."""

import random
from collections.abc import Iterable

import msgspec
import pytest

from phalanx.errors import ConfigurationError
from phalanx.lab.mutants import planted
from phalanx.lab.store import KEYS, StoreScenario
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.replicated import OUTSIDE, Context, command, query
from phalanx.replication import entries
from phalanx.replication.actions import SessionOpened, Ticked
from phalanx.replication.hosted import STAND_IN_NS, Hosted
from phalanx.replication.inflight import HookFailed
from phalanx.replication.objects import describe
from phalanx.replication.replica import Replica
from phalanx.replication.state import HookError
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import ClockOffset, Crash
from phalanx.sim.plan import Plan
from phalanx.sim.run import Call, run
from tests.replication.samples import A, B, C, delivered, group, opened, results, saved
from tests.replication.samples import run as entry


class Fuse:
    """Burns down after a while, unless it fails to."""

    lit_ms: int | None = None
    burnt: int = 0
    broken: bool = False

    @command
    def light(self, ms: int, broken: bool = False, *, context: Context = OUTSIDE) -> int:
        self.lit_ms = context.time_ms + ms
        self.broken = broken
        return self.burnt

    @command
    def fail(self) -> None:
        self.burnt = 99
        raise RuntimeError("undo me")

    @query
    def read(self) -> int:
        return self.burnt

    def due_ms(self) -> int | None:
        return self.lit_ms

    def tick(self, context: Context) -> None:
        assert self.lit_ms is not None and context.time_ms >= self.lit_ms
        self.lit_ms = None
        self.burnt += 1
        if self.broken:
            raise RuntimeError("damp")


FUSE = describe(Fuse)
LIGHT = FUSE.invoke(Fuse.light, 100)
TICK = entries.encode(entries.Tick())


def fuse() -> tuple[Replica[Fuse], int]:
    replica = Replica(FUSE, group("a", "b"), A)
    return replica, opened(replica)  # type: ignore[arg-type]  # any replica has sessions


def test_an_object_is_ticked_before_the_first_entry_whose_time_has_come() -> None:
    replica, session = fuse()
    replica.deliver(delivered(2_000, entry(session, 1, 1, LIGHT)))
    assert replica.due_ms == 2_100
    (outcome,) = results(replica.deliver(delivered(2_099, entry(session, 2, 1, LIGHT))))
    assert LIGHT.result(outcome) == 0  # type: ignore[arg-type]  # it is an outcome
    (outcome,) = results(replica.deliver(delivered(2_199, entry(session, 3, 1, LIGHT))))
    assert LIGHT.result(outcome) == 1  # type: ignore[arg-type]  # it is an outcome


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_what_a_hook_raised_is_told_even_if_it_has_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Fuse) -> int:
        raise Speechless

    replica, _ = fuse()
    told: list[HookFailed] = []
    replica.hooks.told = told.append
    monkeypatch.setattr(Fuse, "due_ms", fail)
    assert replica.due_ms is None
    replica.hooks.saving_failed(FUSE, HookError("snapshot()", Speechless()))
    assert {each.error for each in told} == {"Speechless: (its text cannot be told: RuntimeError)"}


def test_an_empty_message_is_enough_and_says_whose_it_was() -> None:
    replica, session = fuse()
    replica.deliver(delivered(2_000, entry(session, 1, 1, LIGHT)))
    assert replica.deliver(delivered(2_100, TICK)) == [Ticked()]
    assert replica.deliver(delivered(2_101, TICK, sender=B)) == []
    assert (replica.object.burnt, replica.due_ms) == (1, None)


def test_where_the_eldest_does_not_order_a_tick_the_others_do_one_after_the_other() -> None:
    """It may have no code for the version that the group runs: leases of an idle store would never end."""
    found = []
    for me in (A, B, C):
        replica = Replica(FUSE, group("a", "b", "c"), me)
        hosted = Hosted(replica, 0)
        hosted.apply(delivered(1_000, entries.encode(entries.Open(0))), 0)
        hosted.apply(delivered(2_000, entry(1_000 << 16, 1, 1, LIGHT)), 5 * SECOND)
        found.append(hosted.tick_at(me.name))
        hosted.apply(delivered(2_050, TICK), 6 * SECOND)
        assert hosted.tick_at(me.name) > found[-1] + SECOND // 2, "something was ordered"  # type: ignore[operator]  # it is due
        if me is not A:  # due for long, since the hook raises: that is no reason for two to order it
            hosted.apply(delivered(60_000, entries.encode(entries.Open(0))), 7 * SECOND)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Fuse, "due_ms", lambda _: 1)
                assert hosted.tick_at(me.name) == 7 * SECOND + hosted.replica.group.hosts.index(me.name) * STAND_IN_NS
    due = 5 * SECOND + 100 * MILLISECOND
    assert found == [due, due + STAND_IN_NS, due + 2 * STAND_IN_NS]
    hosted.serves = False
    assert hosted.tick_at(C.name) is None
    learner = Hosted(Replica(FUSE, group("a", "b"), C), 0)
    assert learner.tick_at(C.name) is None


def test_what_a_command_undoes_keeps_the_ticks_before_it() -> None:
    """SCENARIOS 36."""
    replica, session = fuse()
    replica.deliver(delivered(2_000, entry(session, 1, 1, LIGHT)))
    replica.deliver(delivered(2_100, TICK, entry(session, 2, 1, FUSE.invoke(Fuse.fail))))
    assert replica.object.burnt == 1


def test_a_tick_that_raises_is_undone_and_reported() -> None:
    replica, session = fuse()
    told: list[HookFailed] = []
    replica.hooks.told = told.append
    replica.deliver(delivered(2_000, entry(session, 1, 1, FUSE.invoke(Fuse.light, 100, True))))
    replica.deliver(delivered(2_100, TICK))
    replica.deliver(delivered(2_200, TICK))
    assert (replica.object.burnt, replica.due_ms) == (0, 2_100)
    assert told == [HookFailed("bank", "Fuse, tick()", "RuntimeError: damp", "it was undone")], "once"


class Squib(Fuse):
    """All its commands are atomic, so no copy of its state is kept."""

    @command(atomic=True)
    def light(self, ms: int, broken: bool = False, *, context: Context = OUTSIDE) -> int:
        return super().light(ms, broken, context=context)

    @command(atomic=True)
    def fail(self) -> None:
        raise RuntimeError("nothing is done")


def test_a_tick_that_raises_is_not_said_to_be_undone_where_no_copy_is_kept() -> None:
    squib = describe(Squib)
    replica = Replica(squib, group("a", "b"), A)
    session = opened(replica)  # type: ignore[arg-type]  # any replica has sessions
    told: list[HookFailed] = []
    replica.hooks.told = told.append
    replica.deliver(delivered(2_000, entry(session, 1, 1, squib.invoke(Squib.light, 100, True))))
    replica.deliver(delivered(2_100, TICK))
    assert (replica.object.burnt, replica.due_ms) == (1, None)
    assert [each.effect.partition(":")[0] for each in told] == ["what it had changed stands"]


def test_both_hooks_or_none() -> None:
    class Half:
        @command
        def set(self) -> None: ...

        def tick(self, context: Context) -> None: ...

    with pytest.raises(ConfigurationError, match=r"tick\(\) but not its counterpart"):
        describe(Half)


# --- in the simulator ---------------------------------------------------------------------------------------------


class Quiet(StoreScenario):
    """A client takes a lease for two seconds and a key under it; then nobody says anything any more."""

    def build(self) -> None:
        super().build()
        self.ttl_ms = 2_000

    def workload(self, rng: random.Random) -> Iterable[Call]:  # noqa: ARG002 (there is no choice)
        yield Call(SECOND, "~c0", ("grant", KEYS[0], KEYS[0]))
        yield Call(2 * SECOND, "~c0", ("leased", KEYS[0], KEYS[0]))


def quiet(*faults: Crash | ClockOffset, seed: int = 1) -> str:
    result = run(Quiet(), Plan(seed, 3, Conditions(), faults, 3 * SECOND, 8 * SECOND))
    assert not result.failures, result
    return result.stuck or "done"


def test_a_lease_ends_though_nothing_else_is_ordered() -> None:
    assert quiet() == "done"


@pytest.mark.parametrize("seed", range(5))
def test_the_next_host_ticks_when_the_eldest_is_gone(seed: int) -> None:
    assert quiet(*(Crash(2_500_000_000, node, SECOND, host=False) for node in range(2)), seed=seed) == "done"


def test_without_ticks_the_lease_would_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hosted, "tick_at", lambda *_: None)
    assert "leases=1" in quiet()


def ahead(count: int) -> str:
    """So many of the three clocks are an hour ahead, until a moment before the lease would end."""
    return quiet(*(ClockOffset(SECOND // 2, 2 * SECOND, node, 3_600 * SECOND) for node in range(count)))


def test_a_lease_ends_soon_though_most_clocks_were_ahead_and_are_put_right() -> None:
    """SCENARIOS 26.  Stamps cannot go back: the group's time is an hour ahead, and goes on at half the rate."""
    assert [ahead(count) for count in range(4)] == ["done"] * 4


def test_if_time_stood_still_until_the_clocks_have_caught_up_the_lease_would_stay() -> None:
    with planted("time that is ahead of the clocks stands still"):
        assert ahead(1) == "done" and all("leases=1" in ahead(count) for count in (2, 3))


class Steady:
    """Remembers what time it was told."""

    seen: list[tuple[int, int]]

    def __init__(self) -> None:
        self.seen = []

    @command
    def look(self, *, context: Context = OUTSIDE) -> int:
        self.seen.append((context.time_ms, context.steady_ms))
        return len(self.seen)


def test_the_steady_clock_stands_still_from_view_to_view_also_for_who_gets_a_snapshot() -> None:
    """Nodes that come back bring clocks that are ahead, so the group's time leaps where a view begins."""
    kind = describe(Steady)
    look = kind.invoke(Steady.look)
    one = Replica(kind, group("a", "b"), A)
    (begun,) = results(one.deliver(delivered(1_000, entries.encode(entries.Open(0)))))
    assert isinstance(begun, SessionOpened)
    session = begun.session
    one.deliver(delivered(1_300, entry(session, 1, 1, look)))
    other = Replica(kind, group("a", "b"), B)
    restoration = other.restoration()
    for data in saved(one, 1 << 20):
        restoration.take(data)
    other.restore(restoration)
    for replica in (one, other):
        for ms, view, number in ((5_000, 2, 2), (5_100, 2, 3), (5_900, 3, 4)):
            batch = delivered(ms, entry(session, number, 1, look))
            replica.deliver(msgspec.structs.replace(batch, view=view))
        assert replica.object.seen == [(1_300, 1_300), (5_000, 1_300), (5_100, 1_400), (5_900, 1_400)]
