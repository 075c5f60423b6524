"""Snapshots of a running group (Chandy and Lamport 1985): over every order in which channels can deliver, and the rules
taken out one by one."""

from collections import deque
from itertools import pairwise

import pytest

from phalanx.errors import ConfigurationError, NotHappened, TooLarge, Unavailable
from phalanx.lab.exhaustive import Choices, every
from phalanx.model.globalstate import GlobalState
from phalanx.replication import globalstate
from phalanx.replication.globalstate import PLAIN, Key, Recorder, _Recording

VIEW = 3


class Branch:
    """Holds money; its state is what it holds, and how many payloads it has sent, and received from whom."""

    def __init__(self, name: str, names: str) -> None:
        self.name = name
        self.balance = 10
        self.sent = 0
        self.received = dict.fromkeys(names, 0)
        self.recorder = Recorder(name, self.record)
        self.recorder.installed(VIEW, names)

    def record(self) -> bytes:
        return f"{self.balance} {self.sent} {' '.join(map(str, self.received.values()))}".encode()


class System:
    """Branches, and a channel from each to each that keeps its order.  What happens next is up to the choices."""

    def __init__(self, choices: Choices, names: str) -> None:
        self.choices = choices
        self.branches = {name: Branch(name, names) for name in names}
        self.channels = {(a, b): deque[bytes]() for a in names for b in names}
        self.log: dict[str, list[bytes]] = {name: [] for name in names}
        """What each has sent, of its own."""

    def multicast(self, source: str, payload: bytes) -> None:
        for name in self.branches:
            self.channels[source, name].append(payload)

    def pay(self, source: str, target: str, amount: int) -> None:
        branch = self.branches[source]
        branch.balance -= amount
        branch.sent += 1
        self.log[source].append(f"{target}{amount}".encode())
        self.multicast(source, PLAIN + self.log[source][-1])

    def snapshot(self, name: str) -> None:
        begun = self.branches[name].recorder.start()
        assert begun is not None
        self.multicast(name, begun[1])

    def deliver_one(self, *, first: bool = False) -> bool:
        """From any channel that is not empty, or from the first."""
        ready = [pair for pair, channel in self.channels.items() if channel]
        if not ready:
            return False
        source, target = ready[0] if first else self.choices.pick(ready)
        branch = self.branches[target]
        taken = branch.recorder.take(source, self.channels[source, target].popleft())
        for payload in taken.sends:
            self.multicast(target, payload)
        if taken.payload is not None:
            branch.received[source] += 1
            if chr(taken.payload[0]) == target:
                branch.balance += int(taken.payload[1:])
        return True

    def drain(self, *, first: bool = False) -> None:
        while self.deliver_one(first=first):
            pass

    def result(self, name: str) -> GlobalState | NotHappened:
        ((_, result),) = self.branches[name].recorder.results
        return result

    def wrong_in(self, state: GlobalState) -> list[str]:
        """Against the definition: in the channel from p to q is what p had sent and q had not received."""
        names = list(self.branches)
        rows = {name: [int(word) for word in state.states[name].split()] for name in names}
        wrong = []
        for p in names:
            for q in names:
                expected = tuple(self.log[p][rows[q][2 + names.index(p)] : rows[p][1]])
                if state.channels.get((p, q), ()) != expected:
                    wrong.append(f"{p} to {q}: {state.channels.get((p, q), ())} and not {expected}")
        held = sum(row[0] for row in rows.values())
        moving = sum(int(each[1:]) for (_, q), c in state.channels.items() for each in c if chr(each[0]) == q)
        if held + moving != 10 * len(names):
            wrong.append(f"{held} held and {moving} under way")
        return wrong


def paying(choices: Choices) -> tuple[str, ...]:
    """Two branches; p pays q and asks for a snapshot, or the other way round, and q pays p at some time."""
    system = System(choices, "pq")
    before = choices.pick((True, False))
    if before:
        system.pay("p", "q", 3)
    system.snapshot("p")
    if not before:
        system.pay("p", "q", 3)
    if choices.pick((True, False)):
        system.deliver_one()
    system.pay("q", "p", 5)
    for _ in range(6):
        system.deliver_one()
    system.drain(first=True)  # the rest in one order, or there would be millions
    result = system.result("p")
    assert isinstance(result, GlobalState)
    return tuple(system.wrong_in(result))


def outcomes() -> set[tuple[str, ...]]:
    return set(every(paying))


def test_the_cut_is_consistent_in_every_order_of_deliveries() -> None:
    assert outcomes() == {()}
    assert sum(1 for _ in every(paying)) > 500


def test_whoever_sends_before_its_marker_what_its_state_does_not_show_spoils_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule of sending the marker before anything else: here it goes after the next payload."""
    follow = Recorder._follow
    late: list[bytes] = []

    def lazily(self: Recorder, sender: str, message: globalstate.Message) -> tuple[bytes, ...]:
        sends = follow(self, sender, message)
        if not late and self._me == "q" and len(sends) == 1:
            late.extend(sends)
            return ()
        return sends

    def program(choices: Choices) -> tuple[str, ...]:
        late.clear()
        system = System(choices, "pq")
        system.snapshot("p")
        for _ in range(3):
            system.deliver_one()
        system.pay("q", "p", 5)
        for payload in late:
            system.multicast("q", payload)
        late.append(b"")
        system.drain(first=True)
        result = system.branches["p"].recorder.results
        return tuple(system.wrong_in(result[0][1])) if result and isinstance(result[0][1], GlobalState) else ()

    assert set(every(program)) == {()}
    monkeypatch.setattr(Recorder, "_follow", lazily)
    assert set(every(program)) != {()}


def test_without_the_channels_money_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Recording, "add", lambda *_: None)
    assert len(outcomes()) > 1


def test_a_channel_that_is_not_closed_by_its_marker_holds_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    add = _Recording.add

    def take(self: Recorder, sender: str, payload: bytes) -> globalstate.Taken:
        if payload[:1] == PLAIN:
            for recording in self._recordings.values():
                add(recording, sender, payload[1:])
            return globalstate.Taken(payload[1:])
        return original(self, sender, payload)

    original = Recorder.take
    monkeypatch.setattr(Recorder, "take", take)
    assert len(outcomes()) > 1


def test_several_snapshots_at_once_do_not_meet() -> None:
    def program(choices: Choices) -> tuple[str, ...]:
        system = System(choices, "pqr")
        system.pay("p", "q", 1)
        system.snapshot("p")
        system.snapshot("r")
        system.pay("q", "r", 2)
        for _ in range(2):
            system.deliver_one()
        system.drain(first=True)
        results = [system.result("p"), system.result("r")]
        assert all(isinstance(result, GlobalState) for result in results)
        return tuple(wrong for r in results if isinstance(r, GlobalState) for wrong in system.wrong_in(r))

    assert set(every(program)) == {()}


# --- views and limits ---------------------------------------------------------------------------------------------


def test_a_snapshot_is_void_when_its_view_ends() -> None:
    p, q = Branch("p", "pq").recorder, Branch("q", "pq").recorder
    begun = p.start()
    assert begun is not None
    key, start = begun
    (marker,) = q.take("p", start).sends
    p.installed(VIEW + 1, ("p", "q", "r"))
    q.installed(VIEW + 1, ("p", "q", "r"))
    ((ended, result),) = p.results
    assert ended == key and isinstance(result, Unavailable)
    assert "view 3 ended" in str(result) and "no snapshot was taken" in str(result)
    assert p.take("q", marker).sends == () and q.take("p", start).sends == (), "what comes late is of the old view"


def test_the_same_view_again_changes_nothing() -> None:
    p = Branch("p", "pq").recorder
    begun = p.start()
    assert begun is not None
    p.installed(VIEW, "pq")
    assert p.results == []
    assert len(p.take("p", begun[1]).sends) == 1


def test_only_hosts_begin_and_take_part() -> None:
    learner = Recorder("r", lambda: b"")
    assert learner.start() is None
    learner.installed(VIEW, ("p", "q"))
    assert learner.start() is None
    begun = Branch("p", "pq").recorder.start()
    assert begun is not None
    assert learner.take("p", begun[1]).sends == ()


def test_a_process_that_is_out_says_so() -> None:
    p = Branch("p", "pq").recorder
    assert p.start() is not None
    p.out("this process was excluded: paused for too long")
    ((_, result),) = p.results
    assert isinstance(result, Unavailable) and "paused for too long" in str(result)
    assert p.start() is None


def test_what_nobody_waits_for_is_forgotten() -> None:
    p = Branch("p", "p").recorder
    begun = p.start()
    assert begun is not None
    p.forget(begun[0])
    inbox = deque([begun[1]])
    while inbox:
        inbox.extend(p.take("p", inbox.popleft()).sends)
    assert p.results == []


def test_a_part_that_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(globalstate, "REPORT_BYTES_MAX", 20)
    p = Branch("p", "p").recorder
    begun = p.start()
    assert begun is not None
    inbox = deque([begun[1], PLAIN + b"x" * 30])
    while inbox:
        inbox.extend(p.take("p", inbox.popleft()).sends)
    ((_, result),) = p.results
    assert isinstance(result, TooLarge)
    assert "p: 36" in str(result) and "20 bytes" in str(result)


@pytest.mark.parametrize("payload", [b"", b"\2x", b"\1", b"\1\x93\xa1s", b"\1" + b"\xff" * 9])
def test_a_member_without_snapshots_is_named(payload: bytes) -> None:
    with pytest.raises(ConfigurationError, match="q multicasts in this group without snapshots"):
        Branch("p", "pq").recorder.take("q", payload)


def test_keys_differ() -> None:
    p = Branch("p", "pq").recorder
    keys = [begun[0] for begun in (p.start(), p.start(), p.start()) if begun is not None]
    assert keys[0] == Key(VIEW, "p", 1)
    assert all(a.number + 1 == b.number for a, b in pairwise(keys))
