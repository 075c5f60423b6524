"""A replica's snapshots in slices, with entries in between; and how much of them a gateway deals with in one turn."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from phalanx.errors import ConfigurationError
from phalanx.model.events import (
    Consumed,
    Delivered,
    Founded,
    Installed,
    Restored,
    RestoreTaken,
    Restoring,
    SnapshotTaken,
    SnapshotUnwanted,
    SnapshotWanted,
)
from phalanx.model.machine import Output
from phalanx.model.replicated import command
from phalanx.replication.gateway import Gateway
from phalanx.replication.inflight import GATEWAY_LIMITS, SnapshotUnfaithful
from phalanx.replication.objects import describe
from phalanx.replication.sessions import Frozen
from phalanx.replication.slicing import GIVE_GAP_NS
from phalanx.replication.standing import Standing
from tests.replication.samples import ACCOUNT, A, Account, account, delivered, opened, run, saved, view

ADD = ACCOUNT.invoke(Account.add, 1)


class Shelf:
    """A list of texts, saved in slices of one each.  It is only appended to, so a slice needs no copy."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    @command(atomic=True)
    def add(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts)

    def snapshot_slices(self, size: int) -> Iterator[bytes]:
        assert size > 0
        count = len(self.texts)
        yield b"%d" % count
        for n in range(count):
            yield self.texts[n].encode()

    def restore_slice(self, data: bytes) -> None:
        if hasattr(self, "expected"):
            self.texts.append(data.decode())
        else:
            self.expected = int(data)

    def digest(self) -> bytes:
        return msgspec.json.encode(self.texts)


SHELF = describe(Shelf)


def interleave(seed: int) -> None:
    """Many sessions with kept outcomes, so that they make most of a snapshot."""
    rng = random.Random(seed)
    replica = account()
    sessions = [opened(replica, 1_000 + n) for n in range(rng.randint(1, 6))]
    numbers = dict.fromkeys(sessions, 0)
    under_way: list[tuple[Iterator[bytes | None], list[bytes | None], list[bytes]]] = []
    for _ in range(60):
        session = rng.choice(sessions)
        numbers[session] += 1
        low = rng.randint(1, numbers[session])
        replica.deliver(delivered(2_000 + rng.randint(0, 9), run(session, numbers[session], low, ADD)))
        if rng.random() < 0.1:
            size = rng.choice((1, 200, 1_000))
            whole = saved(replica, size)
            slices = replica.slices(size)
            under_way.append((slices, [next(slices)], whole))
        for slices, found, _ in under_way:
            if rng.random() < 0.5 and (data := next(slices, None)) is not None:
                found.append(data)
    for slices, found, whole in under_way:
        assert [*found, *slices] == whole, f"seed {seed}"


def test_slices_with_entries_in_between_are_those_of_the_moment_they_began() -> None:
    for seed in range(200):
        interleave(seed)


def test_a_session_table_that_is_not_copied_on_write_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frozen, "keep", lambda *_: None)
    with pytest.raises(AssertionError, match="seed"):
        for seed in range(200):
            interleave(seed)


# --- what a class must have ---------------------------------------------------------------------------------------


def test_a_class_with_slices_needs_both_hooks_and_a_digest() -> None:
    class Half:
        @command
        def nothing(self) -> None: ...

        def snapshot_slices(self, size: int) -> Iterator[bytes]:
            yield b"%d" % size

    with pytest.raises(ConfigurationError, match="counterpart"):
        describe(Half)

    class Undigested(Half):
        def restore_slice(self, data: bytes) -> None: ...

    with pytest.raises(ConfigurationError, match="digest"):
        describe(Undigested)

    class Both(Undigested):
        def digest(self) -> bytes:
            return b""

        def snapshot(self) -> bytes:
            return b""

        def restore(self, data: bytes) -> None: ...

    with pytest.raises(ConfigurationError, match="one of them"):
        describe(Both)


def test_a_whole_snapshot_of_such_a_class_is_its_slices() -> None:
    shelf = Shelf()
    shelf.add("a")
    shelf.add("b")
    assert SHELF.state.restore(SHELF.state.snapshot(shelf)).texts == ["a", "b"]


# --- turns --------------------------------------------------------------------------------------------------------


class Turns:
    """A gateway that hosts a shelf, or an object of another kind, and its turns."""

    def __init__(self, slice_bytes: int = 1, kind: Any = SHELF, hosts: tuple[str, ...] = ("a",)) -> None:
        self.gateway = Gateway(A, GATEWAY_LIMITS._replace(slice_bytes=slice_bytes))
        self.gateway.register("shelf", kind)
        self.now = 0
        self.out = Output()
        self.gateway.deliver(Installed(here(kind, hosts)))

    def turn(self, *deliveries: Any) -> list[Any]:
        """The next, as soon as the gateway wants one; its requests."""
        self.now += GIVE_GAP_NS
        self.gateway.stand(Standing.ACTS, frozenset(), self.now)
        for delivery in deliveries:
            assert self.gateway.deliver(delivery)
        return [r for r in self.gateway.flush(self.out) if isinstance(r, (SnapshotTaken, RestoreTaken))]

    def texts(self) -> list[str]:
        replica = self.gateway.replica("shelf")
        return replica.object.texts if replica is not None else []


def here(kind: Any = SHELF, hosts: tuple[str, ...] = ("a",)) -> Any:
    found = view(*hosts)
    group = found.groups[0]
    spec = msgspec.structs.replace(group.spec, name="shelf", contract=kind.contract)
    learners = () if "a" in hosts else ("a",)
    return msgspec.structs.replace(found, groups=(msgspec.structs.replace(group, spec=spec, learners=learners),))


GROUP = here().groups[0].id


def entry(text: str, number: int) -> Delivered:
    return delivered(1_000, run(1_000 << 16, number, 1, SHELF.invoke(Shelf.add, text)))


def filled(count: int, slice_bytes: int = 1) -> Turns:
    turns = Turns(slice_bytes)
    turns.turn(Founded(GROUP, here().groups[0].spec))
    replica = turns.gateway.replica("shelf")
    assert replica is not None
    opened(replica)
    for number in range(1, count + 1):
        turns.turn(entry(f"text {number}", number))
    return turns


def test_one_slice_a_turn_is_given_and_the_rest_is_of_the_same_moment() -> None:
    donor = filled(3)
    (first,) = donor.turn(SnapshotWanted(GROUP, 7))
    assert first.more
    given = [first.data]
    number = 4
    while first.more:
        assert donor.turn(SnapshotWanted(GROUP, 7)) == [], "not in the same turn"
        assert donor.gateway.deadline is not None
        (first,) = donor.turn(entry("later", number))
        given.append(first.data)
        number += 1
    learner = Turns()
    for data in given[:-1]:
        assert learner.turn(Restoring(GROUP, 5, data)) == [RestoreTaken(GROUP, 5)]
    learner.turn(Restored(GROUP, given[-1], 5))
    assert learner.texts() == ["text 1", "text 2", "text 3"]


@pytest.mark.parametrize("size", [1, 64, 1 << 20])
def test_a_class_that_takes_its_time_gives_the_same_slices_in_more_turns(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions of the same slice are as they were, though their outcomes are settled, and others come, meanwhile."""
    at_once, before = Shelf.snapshot_slices, 2

    def slowly(shelf: Shelf, size: int) -> Iterator[bytes | None]:
        slices = at_once(shelf, size)
        first = next(slices)
        yield from [None] * before
        yield first
        for data in slices:
            yield None
            yield data

    donor = filled(3, size)
    whole = saved(donor.gateway.replica("shelf"), size)  # type: ignore[arg-type]  # there is one
    monkeypatch.setattr(Shelf, "snapshot_slices", slowly)
    answers, number, turns = donor.turn(SnapshotWanted(GROUP, 7)), 4, 0
    given = [answer.data for answer in answers]
    while not answers or answers[-1].more:
        if answers:
            donor.turn(SnapshotWanted(GROUP, 7))
        assert donor.gateway.deadline is not None
        answers = donor.turn(delivered(1_000, run(1_000 << 16, number, number, SHELF.invoke(Shelf.add, "later"))))
        given += [answer.data for answer in answers]
        number, turns = number + 1, turns + 1
        assert turns < 20
    assert given == whole and turns > before


def test_what_follows_a_state_waits_behind_it_and_is_not_answered_from_before() -> None:
    donor = filled(2)
    slices = saved(donor.gateway.replica("shelf"), 1)  # type: ignore[arg-type]  # there is one
    learner = Turns()
    deliveries = [*(Restoring(GROUP, -1, data) for data in slices[:-1]), Restored(GROUP, slices[-1], -1)]
    learner.turn(*deliveries, entry("after", 3))
    turns = 0
    while learner.texts() != ["text 1", "text 2", "after"]:
        learner.turn()
        turns += 1
        assert turns < 20
    assert turns >= len(slices) - 1, "a slice a turn"


def test_a_small_state_takes_no_further_turn() -> None:
    donor = filled(2)
    slices = saved(donor.gateway.replica("shelf"), 1 << 20)  # type: ignore[arg-type]  # there is one
    learner = Turns(1 << 20)
    learner.turn(Restored(GROUP, slices[0]), entry("after", 3))
    assert len(slices) == 1 and learner.texts() == ["text 1", "text 2", "after"]


@pytest.mark.parametrize("hosts", [("a",), ("b",)], ids=["host", "learner"])
def test_all_that_was_ordered_since_a_small_state_is_not_dealt_with_in_one_turn(hosts: tuple[str, ...]) -> None:
    """Nobody would hear of the node meanwhile: it would be excluded, and begin again with yet more to deal with."""
    (state,) = saved(filled(2).gateway.replica("shelf"), 1 << 20)  # type: ignore[arg-type]  # there is one
    learner = Turns(1 << 10, hosts=hosts)
    behind = [entry(f"text {number}", number) for number in range(3, 103)]
    if "a" in hosts:
        learner.turn(Restored(GROUP, state), *behind)
    else:  # the state came in an earlier turn
        learner.turn(Restored(GROUP, state))
        learner.turn(*behind)
    turns = 1
    while len(learner.texts()) < 102:
        assert learner.gateway.deadline is not None, "it goes on by itself"
        learner.turn()
        turns += 1
    assert learner.texts() == [f"text {number}" for number in range(1, 103)]
    assert turns >= sum(len(payload) for each in behind for payload in each.payloads) >> 10


def test_a_host_that_is_abreast_of_the_others_deals_with_all_at_once() -> None:
    host = filled(2)
    host.turn(*(entry(f"text {number}", number) for number in range(3, 103)))
    assert len(host.texts()) == 102


def test_a_command_that_raises_counts_for_what_undoing_it_takes() -> None:
    donor = account(hosts="a")
    opened(donor)
    donor.object.log.extend(f"line {number}" for number in range(10_000))
    (state,) = saved(donor, 1 << 20)
    learner = Turns(8 << 10, ACCOUNT)
    short = [delivered(2_000, run(1_000 << 16, number, 1, ACCOUNT.invoke(Account.take, 1))) for number in range(1, 31)]
    learner.turn(Restored(GROUP, state), *short)
    turns = 1
    while (replica := learner.gateway.replica("shelf")) is None or replica.position < 31:
        learner.turn()
        turns += 1
    assert turns >= 29, "the state is larger than what is meant for a turn"
    assert (replica.object.balance, len(replica.object.log)) == (0, 10_000)


def test_slices_of_another_attempt_do_not_mix() -> None:
    """A donor that fails in the middle: the next one begins anew, under another token."""
    donor = filled(2)
    slices = saved(donor.gateway.replica("shelf"), 1)  # type: ignore[arg-type]  # there is one
    learner = Turns()
    for data in slices[:2]:
        learner.turn(Restoring(GROUP, 5, data))
    for data in slices[:-1]:
        learner.turn(Restoring(GROUP, 6, data))
    learner.turn(Restored(GROUP, slices[-1], 6))
    assert learner.texts() == ["text 1", "text 2"]


def test_a_slice_that_cannot_be_taken_is_told_with_the_last() -> None:
    learner = Turns()
    assert learner.turn(Restoring(GROUP, 5, b"\xc1")) == [RestoreTaken(GROUP, 5)], "the transfer is not held up"
    learner.turn(Restored(GROUP, b"", 5))
    assert any(isinstance(delivery, SnapshotUnfaithful) for delivery in learner.out.deliveries)


@pytest.mark.parametrize("error", [None, RuntimeError("broken"), SystemExit(3)])
def test_slices_that_are_none_or_raise_are_not_given(
    error: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Shelf, size: int) -> Iterator[bytes | None]:
        if error is not None:
            raise error
        yield from (None, None) if size else (b"",)  # which are no slices either

    donor = filled(2)
    monkeypatch.setattr(Shelf, "snapshot_slices", broken)
    answers = [*donor.turn(SnapshotWanted(GROUP, 7)), *donor.turn(), *donor.turn()]
    assert answers == [SnapshotTaken(GROUP, 7, None)]
    with pytest.raises(ConfigurationError, match="at least one slice" if error is None else "raised"):
        describe(Shelf)


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_restoration_that_raises_is_told(error: BaseException, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = saved(filled(2).gateway.replica("shelf"), 1 << 20 if count == 1 else 1)  # type: ignore[arg-type]  # there is one

    def broken(_: Shelf, data: bytes) -> None:
        assert isinstance(data, bytes)
        raise error

    monkeypatch.setattr(Shelf, "restore_slice", broken)
    learner = Turns()
    for data in slices[:-1]:
        learner.turn(Restoring(GROUP, 5, data))
    learner.turn(Restored(GROUP, slices[-1], 5))
    assert any(isinstance(delivery, SnapshotUnfaithful) for delivery in learner.out.deliveries)


def test_a_snapshot_that_is_not_wanted_any_more_is_let_go() -> None:
    donor = filled(2)
    donor.turn(SnapshotWanted(GROUP, 7))
    donor.turn(SnapshotUnwanted(GROUP, 7))
    replica = donor.gateway.replica("shelf")
    assert replica is not None and replica.sessions._frozen == []


def test_a_snapshot_that_is_not_wanted_any_more_before_the_replica_has_caught_up_is_let_go() -> None:
    """A round that shortens the log meets a view change while the log is replayed.  What was begun would be kept for
    good, with a copy of all that changes."""
    slices = saved(filled(2).gateway.replica("shelf"), 1)  # type: ignore[arg-type]  # there is one
    donor = Turns()
    replayed = [*(Restoring(GROUP, -1, data) for data in slices[:-1]), Restored(GROUP, slices[-1], -1)]
    donor.turn(*replayed, SnapshotWanted(GROUP, 7))
    donor.turn(SnapshotUnwanted(GROUP, 7))
    for _ in range(2 * len(slices)):
        donor.turn()
    replica = donor.gateway.replica("shelf")
    assert replica is not None and replica.object.texts == ["text 1", "text 2"]
    assert replica.sessions._frozen == []


def test_what_a_state_takes_the_place_of_counts_as_consumed() -> None:
    """Else the window of all senders is smaller by that, for good."""
    (state,) = saved(filled(2).gateway.replica("shelf"), 1 << 20)  # type: ignore[arg-type]  # there is one
    learner = Turns(1 << 20, hosts=("b",))
    learner.turn(Restored(GROUP, state))
    late = entry("text 3", 3)
    learner.gateway.deliver(late)
    learner.gateway.deliver(Restored(GROUP, state))
    consumed = [r for r in learner.gateway.flush(learner.out) if isinstance(r, Consumed)]
    assert sum(each.size for each in consumed) == sum(map(len, late.payloads))
