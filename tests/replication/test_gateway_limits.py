"""What clients can make one node hold: each limit, what happens at it, and that there is room again afterwards.

SCENARIOS 39 and 40, as far as the gateway is concerned.  (`CLIENTS_MAX` is the transport's: tests/runtime.)
"""

from typing import Any

from phalanx.model.clock import SECOND, stamp_of
from phalanx.model.events import Barrier, BarrierReached, Delivered, Founded, Installed, Multicast
from phalanx.model.machine import Output
from phalanx.replication.gateway import Gateway
from phalanx.replication.inflight import GatewayLimits
from phalanx.replication.messages import Command, Declined, Query, Reason
from phalanx.replication.outcome import ARGS_BYTES_MAX, raised
from phalanx.replication.session import RAISED_BYTES
from tests.replication.samples import ACCOUNT, A, Account, view

ADD = ACCOUNT.operation(Account.add)
READ = ACCOUNT.operation(Account.read)
SMALL = ADD.encode((1,), {})


class Node:
    """A gateway of these limits.  What it hands to the group comes back when the test says so."""

    def __init__(self, limits: GatewayLimits) -> None:
        self.gateway = Gateway(A, limits)
        self.gateway.register("bank", ACCOUNT)
        self.gateway.deliver(Installed(view("a")))
        self.gateway.deliver(Founded(7, view("a").groups[0].spec))
        self._requests = 0
        self._ordered: list[bytes] = []
        self._barriers: list[int] = []

    def command(self, source: str, arguments: bytes = SMALL) -> Reason | None:
        """Why it was declined at once; None if it was taken."""
        self._requests += 1
        command = Command(self._requests, "bank", 1, self._requests, 1, ADD.id, ADD.types, arguments)
        return self._give(source, command)

    def query(self, source: str, *, stale: bool = False, arguments: bytes = b"\x90") -> Reason | None:
        self._requests += 1
        return self._give(source, Query(self._requests, "bank", READ.id, READ.types, arguments, stale))

    def _give(self, source: str, message: Any) -> Reason | None:
        assert self.gateway.receive(source, message)
        return next((said.reason for _, said in self._flush() if isinstance(said, Declined)), None)

    def _flush(self) -> list[tuple[str, Any]]:
        out = Output()
        for request in self.gateway.flush(out):
            match request:
                case Multicast(_, payloads):
                    self._ordered += payloads
                case Barrier(_, token):
                    self._barriers.append(token)
        return [(send.to[0], send.message) for send in out.sends]

    def order(self) -> int:
        """Everything that is under way comes back.  How many answers went to clients."""
        ordered, self._ordered = self._ordered, []
        barriers, self._barriers = self._barriers, []
        self.gateway.deliver(Delivered(7, 1, A, stamp_of(SECOND), ordered))
        for token in barriers:
            self.gateway.deliver(BarrierReached(7, token))
        return len(self._flush())


def test_arguments_beyond_the_limit_of_a_command_are_refused_for_good() -> None:
    node = Node(GatewayLimits(command_bytes=4))
    assert node.command("~0", b"12345") is Reason.TOO_LARGE
    assert node.query("~0", arguments=b"12345") is Reason.TOO_LARGE
    assert node.query("~0", arguments=b"12345", stale=True) is Reason.TOO_LARGE
    assert node.command("~0", b"1234") is None


def test_one_client_has_so_many_requests_under_way_and_others_are_served() -> None:
    node = Node(GatewayLimits(client_requests=2))
    assert [node.command("~0"), node.query("~0"), node.command("~0")] == [None, None, Reason.BUSY]
    assert node.query("~0") is Reason.BUSY
    assert node.query("~0", stale=True) is None, "it is answered at once"
    assert node.command("~1") is None
    assert node.order() == 3
    assert [node.command("~0"), node.command("~0"), node.command("~0")] == [None, None, Reason.BUSY]


def test_one_client_has_so_many_bytes_under_way_and_others_are_served() -> None:
    node = Node(GatewayLimits(client_bytes=10))
    assert [node.command("~0", b"123456"), node.command("~0", b"12345")] == [None, Reason.BUSY]
    assert node.command("~0", b"1234") is None
    assert node.query("~0", arguments=b"1") is Reason.BUSY
    assert node.command("~1", b"1234567890") is None
    assert node.order() == 3
    assert node.command("~0", b"1234567890") is None


def test_all_clients_together_have_so_many_bytes_under_way() -> None:
    """However many connections there are, a node holds no more than this for them."""
    node = Node(GatewayLimits(bytes_in_flight=10))
    assert [node.command("~0", b"123456"), node.command("~1", b"12345")] == [None, Reason.BUSY]
    assert node.command("~2", b"1234") is None
    assert node.order() == 2
    assert node.command("~1", b"1234567890") is None


def test_what_a_client_left_under_way_counts_until_it_has_come_back() -> None:
    """Else one could make the node hold anything by connecting again and again."""
    node = Node(GatewayLimits(client_bytes=10, bytes_in_flight=15))
    assert node.command("~0", b"1234567890") is None
    node.gateway.forget("~0")
    assert node.command("~1", b"1234567890") is Reason.BUSY
    assert node.order() == 0, "nobody is there to be answered"
    assert node.command("~1", b"1234567890") is None


def test_an_exception_counts_in_its_session_for_as_much_as_it_can_hold() -> None:
    """Or a window of them would take more memory than a session may."""
    for text in ("\U0001f600" * 10_000, "x" * (ARGS_BYTES_MAX - 100), "\ud800" * 999):
        kept = raised(ValueError(text))
        assert len(kept.args) + len(kept.text.encode()) <= RAISED_BYTES
