"""One call of a large troupe, answer by answer: the product's group calls alone, on a network without faults.

The group below them is left out: what is to be multicast goes to every host as it is, so a thousand hosts are a matter of
seconds, and nothing is counted but the call.  Letters may be lost, as the caller of `explode` decides.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from phalanx.calls.machine import GroupCalls
from phalanx.calls.messages import Answers, Letter
from phalanx.calls.requests import CallEnded, CallTroupe, Execute, Executed, Want
from phalanx.lab.textbook.troupes import DOUBLE, SERVICE
from phalanx.model.clock import SECOND, Instant
from phalanx.model.events import Delivered, Founded, Installed, Multicast
from phalanx.model.machine import Output
from phalanx.model.view import Address, Group, GroupSpec, Member, Order, View

PATIENCE_NS = 10_000 * SECOND
"""Longer than any repair takes."""

GROUP = 7
CALLER = "caller"


class Explosion(NamedTuple):
    """What one call cost."""

    size: int
    fanout: int
    answers: int
    """Messages with answers, in all."""
    most: int
    """Of these, the most that one node received."""
    at_caller: int
    steps: int
    """From the execution to the caller, if every message takes one."""
    end: CallEnded
    letters: int
    """Of whatever kind, sent until the call had ended."""
    executions: int


def _arrives(number: int) -> bool:  # noqa: ARG001  all do
    return True


def explode(size: int, fanout: int, arrives: Callable[[int], bool] = _arrives) -> Explosion:
    """Call a troupe of so many hosts.  `fanout` 0: each answers the caller.  `arrives`: whether the letter of that number
    does."""
    return _Network(size, arrives).call(fanout)


class _Network:
    """A caller, which hosts nothing, and the hosts; in rounds: what is sent in one comes in the next."""

    def __init__(self, size: int, arrives: Callable[[int], bool]) -> None:
        self._arrives = arrives
        self._letters = 0
        self._executions = 0
        self._now = 0
        hosts = [Member(f"h{number}", f"h{number}", 1) for number in range(size)]
        caller = Member(CALLER, CALLER, 1)
        spec = GroupSpec("adders", Order.TOTAL, contract=SERVICE.contract)
        group = Group(GROUP, spec, tuple(host.name for host in hosts))
        self._view = View(1, 1, (*hosts, caller), (), (group,))
        self._nodes: dict[Address, GroupCalls] = {}
        self._received: Counter[Address] = Counter()
        self._mail: list[tuple[Address, Letter]] = []
        self._end: CallEnded | None = None
        for member in (*hosts, caller):
            calls = self._nodes[member.address] = GroupCalls(member)
            calls.turn(member, None, Instant(0, 0))
            if member is not caller:
                calls.register("adders", SERVICE)
                calls.deliver(Founded(GROUP, spec), [])
            calls.deliver(Installed(self._view), [])

    def call(self, fanout: int) -> Explosion:
        arguments = DOUBLE.encode(21)
        request = CallTroupe(1, "adders", DOUBLE.id, DOUBLE.types, arguments, Want(), PATIENCE_NS, fanout)
        self._nodes[CALLER].request(request)
        rounds = executed_in = 0
        self._flush(CALLER)
        while self._end is None:
            rounds += 1
            if not self._mail:
                self._wait()
            mail, self._mail = self._mail, []
            for address, letter in mail:
                self._received[address] += isinstance(letter.body, Answers)
                self._nodes[address].receive(letter)
            for address in dict.fromkeys(address for address, _ in mail):
                if self._flush(address):
                    executed_in = rounds
        counts = self._received
        steps = rounds - executed_in
        size = len(self._nodes) - 1
        most = max(counts.values())
        what = counts.total(), most, counts[CALLER], steps, self._end, self._letters, self._executions
        return Explosion(size, fanout, *what)

    def _wait(self) -> None:
        """Nothing is under way: go on when somebody is to try again."""
        deadlines = [node.deadline for node in self._nodes.values()]
        self._now = min(at for at in deadlines if at is not None)
        for member in self._view.members:
            self._nodes[member.address].turn(member, self._view, Instant(self._now, 0))
            self._flush(member.address)

    def _flush(self, address: Address) -> bool:
        """The end of a node's turn.  True if the call is executed by all, which happens at once."""
        out = Output()
        requests = self._nodes[address].flush(out)
        for send in out.sends:
            for to in send.to:
                if self._arrives(self._letters):
                    self._mail.append((to, send.message))
                self._letters += 1
        for delivery in out.deliveries:
            if isinstance(delivery, CallEnded):
                self._end = delivery
        payloads = [payload for request in requests if isinstance(request, Multicast) for payload in request.payloads]
        if payloads:
            sender = next(member for member in self._view.members if member.address == address)
            for host in self._view.members[:-1]:
                self._execute(host.address, Delivered(GROUP, 1, sender, 1, payloads))
        return bool(payloads)

    def _execute(self, address: Address, delivered: Delivered) -> None:
        into: list[object] = []
        node = self._nodes[address]
        node.deliver(delivered, into)
        for execute in into:
            assert isinstance(execute, Execute)
            self._executions += 1
            value = 2 * DOUBLE.decode(execute.arguments)["number"]
            node.request(Executed(execute.token, DOUBLE.outcome(value)))
        self._flush(address)
