"""What is measured between the parts of a process: clients' requests, files, and what the kernel counts."""

import socket
import sys
from typing import Any

import pytest

from phalanx.metrics.files import TimedDisk, TimedLog
from phalanx.metrics.happened import NAMES_KEPT, Happened
from phalanx.metrics.requests import TIMED, UNDER_WAY_MAX, Requests
from phalanx.model.clock import MILLISECOND, Instant
from phalanx.model.machine import LinkDown, Note, Output, Received, Send
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.replication.messages import Command, Declined, Opened, OpenSession, Query, Reason, Reply
from phalanx.replication.outcome import Raised, Returned
from phalanx.runtime.contract import Stored
from phalanx.runtime.disk import MemoryDisk
from phalanx.runtime.space import NoRoom
from phalanx.runtime.tcpinfo import counted

CLIENT, OTHER = "~1", "~2"


def command(request: int) -> Command:
    return Command(request, "KV", 1, request, 0, "put/1", 0, b"")


class Desk:
    """Requests, at a time that the test sets."""

    def __init__(self) -> None:
        self.now = 0
        self.requests = Requests(lambda: Instant(self.now, 0))

    def came(self, *messages: Any, source: str = CLIENT) -> None:
        self.requests.came([Received(source, message) for message in messages], self.now)

    def said(self, message: Any, to: str = CLIENT, *, eager: bool = False) -> None:
        out = Output()
        (out.eager if eager else out.sends).append(Send((to,), message))
        self.requests.left(out)

    def sums(self) -> list[int]:
        """Of the times of commands, and of queries."""
        return [self.requests.durations[kind].sum_ns for kind in ("command", "query")]


def test_a_request_is_timed_from_its_arrival_to_its_result() -> None:
    desk = Desk()
    desk.came(command(1), Query(2, "KV", "get/1", 0, b""))
    desk.now = 3 * MILLISECOND
    desk.said(Reply(1, Returned(b""), 0))
    desk.now = 5 * MILLISECOND
    desk.said(Reply(2, Raised("KeyError", b"", ""), 0), eager=True)
    assert desk.requests.answered == {"ok": 1, "raised": 1}
    assert desk.sums() == [3 * MILLISECOND, 5 * MILLISECOND]


def test_all_are_counted_and_one_in_some_is_timed() -> None:
    desk = Desk()
    for number in range(3 * TIMED):
        desk.came(command(number), source=f"~{number}")
        desk.now += MILLISECOND
        desk.said(Reply(number, Returned(b""), 0), f"~{number}")
    assert desk.requests.received["command"] == desk.requests.answered["ok"] == 3 * TIMED
    assert desk.sums() == [3 * MILLISECOND, 0]


def test_what_was_declined_is_counted_by_its_reason_and_not_timed() -> None:
    desk = Desk()
    desk.came(command(1), command(2), OpenSession(3, "KV"))
    desk.said(Declined(1, Reason.BUSY, ""))
    desk.said(Declined(2, Reason.UNKNOWN, ""))
    desk.said(Opened(3, 1, 1, ()))
    assert desk.requests.answered == {"ok": 1, "raised": 0, "busy": 1, "unknown": 1}
    assert desk.requests.received == {"command": 2, "query": 0, "session": 1, "watch": 0}
    assert sum(desk.requests.durations["command"].counts) == 0


def test_an_answer_ends_what_its_client_asked() -> None:
    desk = Desk()
    desk.came(command(1))
    desk.now = MILLISECOND
    desk.said(Reply(1, Returned(b""), 0), OTHER)
    desk.said(Reply(7, Returned(b""), 0))
    assert desk.sums() == [0, 0]
    desk.said(Reply(1, Returned(b""), 0))
    desk.said(Reply(1, Returned(b""), 0))
    assert desk.sums() == [MILLISECOND, 0]


def test_a_doubled_request_is_timed_from_the_first() -> None:
    desk = Desk()
    desk.came(command(1))
    desk.now = MILLISECOND
    desk.came(*[command(1)] * TIMED)
    desk.said(Reply(1, Returned(b""), 0))
    assert desk.sums() == [MILLISECOND, 0]


def test_what_came_of_clients_that_are_gone_is_not_waited_for() -> None:
    desk = Desk()
    desk.came(command(1))
    desk.requests.came([LinkDown(CLIENT), LinkDown("127.0.0.1:1")], 0)
    desk.now = MILLISECOND
    desk.said(Reply(1, Returned(b""), 0))
    assert desk.sums() == [0, 0]


def test_requests_that_are_never_answered_take_bounded_memory() -> None:
    """A client may double what it asked as often as it likes; nobody answers that."""
    desk = Desk()
    sizes = []
    for number in range(3 * TIMED * UNDER_WAY_MAX, 0, -1):
        desk.came(command(number), source=f"~{number % 3}")
        sizes.append(sum(map(len, desk.requests._timed.values())))
    assert max(sizes) == UNDER_WAY_MAX
    desk.came(*(command(10**9 + n) for n in range(TIMED)), source="~9")
    desk.now = MILLISECOND
    for n in range(TIMED):
        desk.said(Reply(10**9 + n, Returned(b""), 0), "~9")
    assert desk.sums() == [MILLISECOND, 0], "it goes on"


# --- files --------------------------------------------------------------------------------------------------------


class Slow:
    """A `LogDisk` that is done when the test says so."""

    def __init__(self) -> None:
        self.done: list[Stored] = []
        self.forgot: list[int | None] = []

    def append(self, records: Any, forget: int | None, done: Stored) -> None:  # noqa: ARG002 - as the contract has it
        self.forgot.append(forget)
        self.done.append(done)

    def part(self) -> None:
        self.forgot.append(-1)

    def read(self, done: Any) -> None:
        done(None, None)

    def look(self, done: Any) -> None:
        done(None)

    def close(self) -> None:
        self.forgot.append(-2)


def test_appends_are_timed_once_they_are_durable_and_their_callers_told_what_the_log_says() -> None:
    log, told = Slow(), list[BaseException | None]()
    timed = TimedLog(log)
    for records, forget in ((["r", "s"], 7), ([], 8), (["t"], None), (["u"], None)):
        timed.append(records, forget, told.append)
    full = NoRoom("full")
    log.done[0](None)
    log.done[1](None)
    log.done[2](full)
    assert told == [None, None, full]
    assert (timed.records, sum(timed.durations.counts)) == (2, 1)
    timed.part()
    timed.close()
    assert log.forgot == [7, 8, None, None, -1, -2]
    timed.read(lambda *found: told.extend(found[1:] * 2))
    timed.look(lambda _: told.append(None))
    assert len(told) == 6


def test_stores_are_timed() -> None:
    disk, told = MemoryDisk(), list[BaseException | None]()
    timed = TimedDisk(disk)
    timed.store("votes", told.append)
    timed.close()
    assert (disk.record, told, sum(timed.durations.counts)) == ("votes", [None], 1)


# --- what happened ------------------------------------------------------------------------------------------------


class OfGroups:
    """A node in a view, as far as its notes are counted."""

    def __init__(self) -> None:
        self.group = self
        self.view: View | None = None

    def channel(self, group: int) -> None:
        """It takes part in none."""

    def install(self, number: int, name: str) -> list[Note]:
        me = Member("a", "a:1", 1)
        self.view = View(1, number, (me,), groups=(Group(number << 16, GroupSpec(name), ("a",), ()),))
        return [Note("installed", (number,))]


def test_counts_of_groups_that_are_no_more_are_forgotten_in_the_end() -> None:
    node = OfGroups()
    happened = Happened(node)  # type: ignore[arg-type]  # all of a node that it looks at
    for number in range(1, 2 * NAMES_KEPT):
        happened.noted(node.install(number, f"g{number}"), 0)
        happened.noted([Note("transfer.done", (number << 16, number, 10))], 0)
        happened.noted([Note("suspects", (f"p{number}",))], 0)
    last = 2 * NAMES_KEPT - 1
    for counts in (happened.fetched, happened.transfers, happened.suspicions):
        assert NAMES_KEPT <= len(counts) <= NAMES_KEPT + 1
    assert happened.fetched[f"g{last}"] == 10
    assert f"g{last - NAMES_KEPT - 1}" not in happened.fetched
    assert happened.view_changes == {"groups": last - 1}


def test_a_view_change_lasts_from_the_first_promise_to_the_next_view() -> None:
    node = OfGroups()
    happened = Happened(node)  # type: ignore[arg-type]  # all of a node that it looks at
    happened.noted([Note("promise")], 5)
    happened.noted(node.install(1, "g"), 7)
    assert sum(happened.pauses.counts) == 0, "it was in no view before"
    happened.noted([Note("promise")], 10)
    happened.noted([Note("promise")], 20)
    happened.noted(node.install(2, "g"), 35)
    assert happened.pauses.sum_ns == 25
    happened.noted(node.install(3, "g"), 60)
    assert sum(happened.pauses.counts) == 1, "it was decided without this node"
    happened.noted([Note("promise"), Note("node.excluded", ("why",))], 70)
    node.view = None
    happened.noted(node.install(4, "g"), 99)
    assert (happened.exclusions, sum(happened.pauses.counts)) == (1, 1)


def test_batches_that_a_group_went_on_without_are_counted_if_they_may_have_been_acknowledged() -> None:
    happened = Happened(OfGroups())  # type: ignore[arg-type]  # all of a node that it looks at
    happened.noted([Note("log.left_out", ("g", 7, 3, False)), Note("log.left_out", ("g", 8, 4, True))], 1)
    assert happened.left_out == {"g": 4}


# --- the kernel ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked for it")
def test_the_kernel_counts_the_bytes_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        other, _ = server.accept()
        with other:
            one.sendall(b"x" * 1000)
            other.sendall(b"y" * 77)
            assert len(other.recv(1000, socket.MSG_WAITALL)) == 1000
            assert len(one.recv(77, socket.MSG_WAITALL)) == 77
            found, there = counted(one), counted(other)
            assert found is not None and there is not None
            assert (found.received, there.received) == (77, 1000)
            assert found.sent >= 1000
            assert found.resent == 0
            assert 0 < found.round_trip_us < 10_000_000


def test_of_what_is_no_tcp_connection_nothing_is_counted() -> None:
    assert counted(None) is None
    one, other = socket.socketpair()
    with one, other:
        assert counted(one) is None
    assert counted(one) is None, "it is closed"
