"""Split brain, executed; and with rules taken out of the product and of the replicas, which the table must show."""

import importlib
from collections.abc import Callable, Collection

import pytest

from phalanx.lab.experiments import split_brain
from phalanx.lab.experiments.split_brain import Booth, sell_at_once, sell_in_group
from phalanx.lab.textbook.optimistic import Answer, Merge, Replica, Sell, State
from phalanx.model.clock import Instant
from phalanx.model.machine import Output, Received
from phalanx.model.view import Name, View
from tests.lab.experiments.runs import breaks, failing

PARTS = (("A", "B", "C"), ("D", "E"))


def replace_quorum(monkeypatch: pytest.MonkeyPatch, rule: Callable[[View, Collection[Name]], bool]) -> None:
    for module in ("coordinator", "core", "detector", "flush", "multicast", "proposal", "reads"):
        monkeypatch.setattr(importlib.import_module(f"phalanx.group.{module}"), "is_quorum", rule)


def sell(replica: Replica, customer: str, at: int) -> bool:
    (answer,) = replica.step([Sell(customer)], Instant(at, at)).deliveries
    assert isinstance(answer, Answer) and answer.customer == customer
    return answer.sold


def hear(replica: Replica, state: State, at: int) -> State:
    replica.step([Received("peer", state)], Instant(at, at))
    return replica.state


# --- replicas that never wait -------------------------------------------------------------------------------------


def test_a_replica_sells_what_it_believes_to_have() -> None:
    replica = Replica("A", ["B"], 1, Merge.UNION)
    assert sell(replica, "ann", 1) and not sell(replica, "bob", 2)


def test_what_knows_all_of_another_replaces_it_without_a_conflict() -> None:
    a, b = Replica("A", ["B"], 9, Merge.LATER), Replica("B", ["A"], 9, Merge.LATER)
    sell(a, "ann", 1)
    assert hear(b, a.state, 2) == a.state
    sell(b, "bob", 3)
    assert hear(a, b.state, 4).sales == {"ann", "bob"}
    assert hear(b, State(frozenset(), {}, 9, "A"), 9).sales == {"ann", "bob"}, "an old state replaces nothing"
    assert (a.conflicts, b.conflicts) == (0, 0)


@pytest.mark.parametrize(("merge", "left"), [(Merge.LATER, {"bob"}), (Merge.UNION, {"ann", "bob"})])
def test_a_conflict_is_settled_alike_on_both_sides(merge: Merge, left: set[str]) -> None:
    a, b = Replica("A", ["B"], 9, merge), Replica("B", ["A"], 9, merge)
    sell(a, "ann", 1)
    sell(b, "bob", 2)
    of_a = a.state
    assert hear(a, b.state, 3) == hear(b, of_a, 3)
    assert a.state.sales == left
    assert (a.conflicts, b.conflicts) == (1, 1)


def test_a_replica_shows_its_state_when_it_changes_and_now_and_then() -> None:
    replica = Replica("A", ["B", "C"], 9, Merge.UNION)
    assert replica.step([], Instant(0, 0)).sends and not replica.step([], Instant(1, 1)).sends
    (send,) = replica.step([Sell("ann")], Instant(2, 2)).sends
    assert (list(send.to), send.message.sales) == (["B", "C"], {"ann"})
    assert replica.step([], Instant(replica.deadline or 0, 3)).sends


# --- with rules taken out -----------------------------------------------------------------------------------------


@breaks(
    "split-brain",
    "primary partition: the part with a quorum answers, whichever it is, and no other",
    "primary partition: all that was promised is known everywhere",
    "primary partition: no more is sold than there is",
    "primary partition: all replicas end with the same",
)
def test_a_group_in_which_anybody_is_a_quorum_has_two_brains(monkeypatch: pytest.MonkeyPatch) -> None:
    def anybody(view: View, names: Collection[Name]) -> bool:
        return bool(names) if view.id else len(names) >= len(view.members)

    replace_quorum(monkeypatch, anybody)
    sale = sell_in_group(PARTS)
    assert [sale.at_once(part) for part in PARTS] == [12, 8]
    assert sale.lost > 0 and sale.over > 0
    found = failing(split_brain.primary_claims([sale]))
    assert "primary partition: the part with a quorum answers, whichever it is, and no other" in found
    assert "primary partition: all that was promised is known everywhere" in found
    assert "primary partition: no more is sold than there is" in found


@breaks("split-brain", "a request to the rest is answered once it has healed if nobody went on, else never")
def test_a_tie_that_goes_to_nobody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rank 0 of dynamic linear voting neither half goes on."""

    def majority(view: View, names: Collection[Name]) -> bool:
        return 2 * sum(m.name in names for m in view.members) > len(view.members)

    replace_quorum(monkeypatch, majority)
    sale = sell_in_group((("A", "B"), ("C", "D")))
    assert sale.at_once() == 0 and sale.later == sale.asked
    assert len(failing(split_brain.primary_claims([sale]))) == 2


@breaks("split-brain", "primary partition: no more is sold than there is")
def test_a_booth_that_does_not_count_sells_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(self: Booth, customer: str) -> bool:
        self.sales.append(customer)
        return True

    monkeypatch.setattr(Booth, "sell", generous)
    assert failing(split_brain.primary_claims([sell_in_group(PARTS)])) == [
        "primary partition: no more is sold than there is"
    ]


@breaks("split-brain", "the union forgets nothing", "and holds more than there is")
def test_a_union_that_takes_one_side_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replica, "_merged", lambda _, mine, theirs: max(mine, theirs, key=lambda state: state.stamp))
    merged = {merge: [sell_at_once(PARTS, merge)] for merge in Merge}
    assert "the union forgets nothing" in failing(split_brain.merge_claims(merged))


def test_without_version_vectors_there_is_no_conflict_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(State, "knows", lambda _, __: True)
    sale = sell_at_once(PARTS, Merge.UNION)
    assert len({*sale.known.values()}) > 1 and sale.lost > 0


@breaks(
    "split-brain",
    "merging: every request is answered at once",
    "merging: each part sells all that it believes to have",
)
def test_replicas_of_which_only_the_first_sells_answer_no_more_than_a_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    sells = Replica._sell

    def primary(self: Replica, customer: str, now: Instant, out: Output) -> None:
        if self._me == "A":
            sells(self, customer, now, out)

    assert merging() == []
    monkeypatch.setattr(Replica, "_sell", primary)
    assert len(merging()) >= 2


@breaks("split-brain", "the later write forgets all that the other parts sold")
def test_a_later_write_that_is_a_union_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = Replica._merged

    def union(self: Replica, mine: State, theirs: State) -> State:
        self._merge = Merge.UNION
        return merged(self, mine, theirs)

    monkeypatch.setattr(Replica, "_merged", union)
    assert merging() == ["the later write forgets all that the other parts sold"]


def merging() -> list[str]:
    """The claims on merging that do not hold now."""
    return failing(split_brain.merge_claims({merge: [sell_at_once(PARTS, merge)] for merge in Merge}))
