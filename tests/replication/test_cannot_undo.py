"""What raised cannot always be undone: where a state cannot be restored, or a command raises when it is run again.  That
costs the object at that node, and not the node (docs/objects.md)."""

from typing import Any, ClassVar

import pytest

from phalanx.model.clock import SECOND, stamp_of
from phalanx.model.events import Delivered, Founded, Installed, Rescued
from phalanx.model.machine import Output
from phalanx.model.replicated import command, query
from phalanx.replication import entries
from phalanx.replication.gateway import Gateway
from phalanx.replication.inflight import HookFailed
from phalanx.replication.messages import Command, Declined, Query, Reason, Reply
from phalanx.replication.objects import Operation, describe
from phalanx.replication.standing import Standing
from tests.replication.samples import A, Account, view


class Moody(Account):
    """What it raises, and where, the test says: that is not determined by its state."""

    moods: ClassVar[dict[str, BaseException]] = {}

    def snapshot(self) -> bytes:
        return b"%d" % self.balance

    def restore(self, data: bytes) -> None:
        if "restore" in self.moods:
            raise self.moods["restore"]
        self.balance = int(data)

    @command
    def add(self, amount: int) -> int:
        if "add" in self.moods:
            raise self.moods["add"]
        return super().add(amount)

    @query
    def read(self) -> int:
        return self.balance


MOODY = describe(Moody)
ADD, FAIL, READ = (MOODY.operation(each) for each in (Moody.add, Moody.fail, Moody.read))
SESSION = stamp_of(SECOND)


class Host:
    """One of three.  What it is asked, it orders at once, and what it says is kept."""

    def __init__(self) -> None:
        spec = view("a", "b", "c").groups[0].spec
        self.gateway = Gateway(A)
        self.gateway.register("bank", MOODY)
        self.gateway.deliver(Installed(view("a", "b", "c")))
        self.gateway.deliver(Founded(7, spec))
        self.told: list[HookFailed] = []
        self._request = 0
        self.order(entries.Open(0))

    def order(self, *run: entries.Entry) -> None:
        payloads = [entries.encode(each) for each in run]
        assert self.gateway.deliver(Delivered(7, 1, A, SESSION, payloads))

    def ask(self, *operations: Operation) -> list[Any]:
        """Commands in one run; the answers."""
        self.gateway.stand(Standing.ACTS, frozenset(), 0)
        out = Output()
        for each in operations:
            self._request += 1
            arguments = each.encode((1,) if each is ADD else (), {})
            if each is READ:
                asked: Command | Query = Query(self._request, "bank", each.id, each.types, arguments, True)
            else:
                asked = Command(self._request, "bank", SESSION, self._request, 1, each.id, each.types, arguments)
            assert self.gateway.receive("~0", asked)
        payloads = [payload for request in self.gateway.flush(out) for payload in getattr(request, "payloads", ())]
        if payloads:
            self.gateway.deliver(Delivered(7, 1, A, SESSION, payloads))
        self.gateway.flush(out)
        self.told += [delivery for delivery in out.deliveries if isinstance(delivery, HookFailed)]
        return [send.message for send in (*out.eager, *out.sends)]


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3)])
@pytest.mark.parametrize("where", ["restore", "add"])
def test_what_cannot_be_undone_costs_the_object_and_not_the_node(
    where: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host()
    assert [type(each) for each in host.ask(ADD, FAIL, ADD)] == [Reply, Reply, Reply]
    monkeypatch.setitem(Moody.moods, where, error)
    said = host.ask(FAIL)
    assert [each.reason for each in said] == [Reason.UNKNOWN], "nobody knows here what became of it"
    (told,) = host.told
    assert (told.group, told.where) == ("bank", f"Moody.{where}" if where == "add" else "Moody, restore")
    assert type(error).__name__ in told.error
    assert "does not serve the object any more" in told.effect
    monkeypatch.undo()
    for asked in (ADD, READ):
        (said,) = host.ask(asked)
        assert isinstance(said, Declined) and said.reason is Reason.ELSEWHERE, "the state is half of what it was"
        assert A.address not in said.endpoints
    host.order(entries.Tick())
    assert host.gateway.of_versions(view("a", "b", "c").groups[0]) == (0, {}, "")


@pytest.mark.parametrize(
    "end", [Installed(view("a", "b", "c", number=2)), Rescued(7, SESSION)], ids=["a view", "a recovery"]
)
def test_nor_does_what_an_upgrade_held_and_a_new_view_lets_go_on(
    end: Installed | Rescued, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host()
    host.ask(ADD)
    host.order(entries.Upgrade(1, MOODY.version, MOODY.version + 1, "", ("a", "b", "c")))
    host.gateway.flush(Output())  # what it comes to here is not ordered before the view ends
    assert host.ask(FAIL) == [], "it is held"
    monkeypatch.setitem(Moody.moods, "restore", RuntimeError("broken"))
    host.gateway.deliver(end)
    assert [each.reason for each in host.ask()] == [Reason.UNKNOWN]
    assert [told.where for told in host.told] == ["Moody, restore"]
