"""What a gateway does for clients while disks have no room (SCENARIOS 8): refuse, send elsewhere, or answer."""

import random
from typing import Any

import pytest

from phalanx.errors import StorageFull
from phalanx.model.clock import SECOND, Instant
from phalanx.model.events import Barrier, Founded, Installed, Multicast
from phalanx.model.machine import Output, Received
from phalanx.model.replicated import command, query
from phalanx.model.signals import Space
from phalanx.model.view import Group, GroupSpec, Order, View
from phalanx.replication.calls import Call, Completed, End, error_of
from phalanx.replication.client import ClientMachine
from phalanx.replication.gateway import Gateway
from phalanx.replication.messages import Command, Declined, Opened, OpenSession, Query, Reason, Reply
from phalanx.replication.objects import Operation, describe
from phalanx.replication.standing import Standing
from tests.replication.samples import A, view


class Notes:
    """Something that grows, and can be made smaller."""

    texts: list[str]

    def __init__(self) -> None:
        self.texts = []

    @command(atomic=True)
    def add(self, text: str) -> None:
        self.texts.append(text)

    @command(atomic=True, when_full=True)
    def clear(self) -> None:
        self.texts.clear()

    @query
    def count(self) -> int:
        return len(self.texts)


NOTES = describe(Notes)
ADD, CLEAR, COUNT = (NOTES.operation(method) for method in (Notes.add, Notes.clear, Notes.count))


def view_of(hosts: str, learners: str = "", *, durable: bool = True) -> View:
    spec = GroupSpec("notes", Order.TOTAL, contract=NOTES.contract, durable=durable)
    group = Group(7, spec, tuple(hosts), tuple(learners))
    base = view(*sorted(hosts + learners))
    return View(base.cluster, base.id, base.members, (), (group,))


class Node:
    """The gateway of `a`."""

    def __init__(self, of: View) -> None:
        self.gateway = Gateway(A)
        self.gateway.register("notes", NOTES)
        self.gateway.deliver(Installed(of))
        self.gateway.deliver(Founded(7, of.groups[0].spec))
        self._requests = 0
        self.asked: list[Any] = []
        self.out = Output()

    def short(self, **spaces: Space) -> None:
        self.gateway.stand(Standing.ACTS, frozenset(), 0, spaces)

    def give(self, message: Any) -> Any:
        """What is said to it at once; None if it was handed to the group."""
        assert self.gateway.receive("~0", message)
        self.out = Output()
        self.asked = self.gateway.flush(self.out)
        said = [send.message for send in (*self.out.eager, *self.out.sends)]
        return said[0] if said else None

    def command(self, operation: Operation, *arguments: Any) -> Any:
        self._requests += 1
        encoded = operation.encode(arguments, {})
        return self.give(Command(self._requests, "notes", 1, self._requests, 1, operation.id, operation.types, encoded))

    def query(self, *, stale: bool = False) -> Any:
        self._requests += 1
        return self.give(Query(self._requests, "notes", COUNT.id, COUNT.types, COUNT.encode((), {}), stale))

    def hands_on(self, kind: type) -> bool:
        return any(isinstance(request, kind) for request in self.asked)


def test_a_group_that_needs_a_disk_without_room_refuses_commands_and_names_it() -> None:
    node = Node(view_of("abc"))
    node.short(a=Space.LOW, b=Space.LOW)
    declined = node.command(ADD, "text")
    assert isinstance(declined, Declined) and declined.reason is Reason.FULL
    assert "a (low), b (low)" in declined.text
    assert not node.hands_on(Multicast)


def test_what_frees_space_and_reads_go_on() -> None:
    node = Node(view_of("abc"))
    node.short(a=Space.LOW, b=Space.LOW)
    assert node.command(CLEAR) is None
    assert node.hands_on(Multicast)
    assert node.give(OpenSession(100, "notes")) is None, "who wants to free something needs one"
    node = Node(view_of("abc"))
    node.short(a=Space.LOW, b=Space.LOW)
    assert node.query() is None
    assert node.hands_on(Barrier)


def test_without_any_room_not_even_what_frees_space_is_taken() -> None:
    node = Node(view_of("abc"))
    node.short(b=Space.FULL, c=Space.LOW)
    assert node.command(CLEAR).reason is Reason.FULL
    assert node.give(OpenSession(100, "notes")).reason is Reason.FULL


def test_where_the_others_can_go_on_writes_are_taken_or_sent_to_them() -> None:
    node = Node(view_of("abc"))
    node.short(b=Space.FULL)
    assert node.command(ADD, "text") is None, "b steps back in a moment"
    node.short(a=Space.LOW)
    assert node.command(ADD, "text") is None, "there is a reserve for that moment"
    node.short(a=Space.FULL)
    declined = node.command(ADD, "text")
    assert declined.reason is Reason.ELSEWHERE
    assert "is full" in declined.text


def test_a_learner_answers_stale_reads_and_nothing_else() -> None:
    """It has stepped back: what it knew last is all that it can tell."""
    node = Node(view_of("bc", "a"))
    node.short(a=Space.LOW)
    answer = node.query(stale=True)
    assert isinstance(answer, Reply)
    assert node.query().reason is Reason.ELSEWHERE
    assert node.command(ADD, "text").reason is Reason.ELSEWHERE


def test_a_full_node_says_what_does_not_need_its_disk_at_once() -> None:
    """What waits for its votes waits as long as its disk is full (model/machine.py)."""
    node = Node(view_of("bc", "a"))
    node.short(a=Space.FULL)
    node.query(stale=True)
    assert node.out.eager and not node.out.sends
    node.command(ADD, "text")
    assert node.out.eager and not node.out.sends


def test_groups_in_memory_take_no_notice() -> None:
    node = Node(view_of("abc", durable=False))
    node.short(a=Space.FULL, b=Space.FULL, c=Space.FULL)
    assert node.command(ADD, "text") is None


def test_writes_are_taken_again_as_soon_as_there_is_room() -> None:
    node = Node(view_of("a"))
    node.short(a=Space.LOW)
    assert node.command(ADD, "text").reason is Reason.FULL
    node.short()
    assert node.command(ADD, "text") is None


@pytest.mark.parametrize("at", ["the session", "the command"])
def test_a_client_is_told_at_once_that_nothing_has_happened(at: str) -> None:
    """Rather than at its deadline: nobody can take it, so to try elsewhere would not help."""
    client = ClientMachine(("a", "b"), random.Random(1))
    call = Call(1, "notes", ADD.id, ADD.types, ADD.encode(("text",), {}), 60 * SECOND)
    [opening] = client.step([call], Instant(0, 0)).sends
    refused = Declined(opening.message.request, Reason.FULL, "the disks of a, b, c are full")
    if at == "the command":
        opened = Opened(opening.message.request, 5, 600_000, ())
        [sent] = client.step([Received("a", opened)], Instant(1, 1)).sends
        refused = Declined(sent.message.request, Reason.FULL, "the disks of a, b, c are full")
    [completed] = client.step([Received("a", refused)], Instant(2, 2)).deliveries
    assert isinstance(completed, Completed) and completed.end is End.NOT_HAPPENED
    error = error_of(completed)
    assert isinstance(error, StorageFull)
    assert "the disks of a, b, c are full" in str(error)
