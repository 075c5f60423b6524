"""One process, looked at: the seams at which it is measured, and a reading of all that there is."""

import asyncio
from collections.abc import Iterable
from typing import Any

from phalanx import __version__
from phalanx.api.observing import Inside
from phalanx.api.storage import Storage
from phalanx.metrics.families import Page
from phalanx.metrics.files import TimedDisk, TimedLog
from phalanx.metrics.happened import Happened
from phalanx.metrics.histogram import Histogram
from phalanx.metrics.requests import Requests
from phalanx.model.clock import SECOND, Instant
from phalanx.model.machine import Output, Patient, Received, Space
from phalanx.node.node import Node
from phalanx.node.status import GroupStatus, Status
from phalanx.runtime.clock import system_clock
from phalanx.runtime.disk import FileDisk
from phalanx.runtime.logdisk import FileLog
from phalanx.runtime.tcpinfo import counted
from phalanx.runtime.transport import TcpTransport

STATES = ("member", "learner", "fenced", "out")
SPACES = tuple(space.name.lower() for space in Space)

LAG_NS = SECOND // 4
"""How often it is looked how late the event loop is."""


class WatchedNode(Patient):
    """A `Machine`: the node, with a look at what goes in and out of it in each turn."""

    def __init__(self, node: Node) -> None:
        self.happened = Happened(node)
        self.requests = Requests()
        self._node = node

    def step(self, events: Iterable[Any], now: Instant) -> Output:
        turn = events if isinstance(events, list) else list(events)
        self.requests.came(turn, now.mono)
        out = self._node.step(turn, now)
        self.requests.left(out)
        if out.notes:
            self.happened.noted(out.notes, now.mono)
        if out.deliveries:
            self.happened.delivered(out.deliveries)
        return out

    def can_wait(self, event: Received) -> bool:
        return self._node.can_wait(event)

    @property
    def deadline(self) -> int | None:
        return self._node.deadline


class Watched:
    """A process from its beginning to its end.  On its loop, where all methods are to be called."""

    def __init__(self, inside: Inside) -> None:
        self.loop = asyncio.get_running_loop()
        self.machine = WatchedNode(inside.node)
        self._inside = inside
        disk, log = inside.storage.disk, inside.storage.log
        self._disk = TimedDisk(disk) if isinstance(disk, FileDisk) else None
        self._file = log if isinstance(log, FileLog) else None
        self._log = TimedLog(log) if isinstance(log, FileLog) else None
        self.storage: Storage = inside.storage._replace(disk=self._disk or disk, log=self._log or log)
        self._lag = Histogram()
        self._expect()

    def _expect(self) -> None:
        self.loop.call_later(LAG_NS / SECOND, self._lagged, system_clock().mono + LAG_NS)

    def _lagged(self, due: int) -> None:
        if not self.is_stopped:
            self._lag.observe(max(0, system_clock().mono - due))
            self._expect()

    @property
    def is_stopped(self) -> bool:
        return self._inside.is_stopped()

    def waits(self) -> str:
        """What the node waits for before it is of use, in words to follow its name; "" if it is: a full member of a
        view that hears a quorum, a host, with their state, of all that it is to host."""
        if self.is_stopped:
            return "has stopped"
        status = self._inside.node.status
        if status.waits or status.state != "member":
            return status.waits or f"is {status.state}"
        lacks = self._inside.uses.names - {g.name for g in status.groups if g.here == "host" and g.synced}
        return f"waits for the state of {', '.join(sorted(lacks))}" if lacks else ""

    def read(self) -> Page:
        """All measures as they are now.  Of a node that has stopped, that it has."""
        page = Page()
        page.add("phalanx_ready", not self.waits())
        if self.is_stopped:
            return page
        status = self._inside.node.status
        self._read_view(page, status)
        self._read_links(page)
        for group in status.groups:
            self._read_group(page, group)
        for suspended in status.suspended:
            page.add("phalanx_group_suspended", 1, suspended.name)
        self._read_happened(page)
        self._read_requests(page, status)
        self._read_files(page, status)
        page.histogram("phalanx_loop_lag_seconds", self._lag)
        return page

    def _read_view(self, page: Page, status: Status) -> None:
        page.add("phalanx_node", 1, status.node, status.address, status.cluster, __version__)
        page.choice("phalanx_state", status.state, STATES)
        page.add("phalanx_view_id", status.view)
        page.add("phalanx_members", len(status.members))
        page.add("phalanx_learners", len(status.learners))
        page.add("phalanx_survivable_failures", status.survives)
        if status.view >= 0:
            page.add("phalanx_clock_offset_seconds", status.clock_ms / 1000)
            page.add("phalanx_time_ahead_seconds", status.time_ahead_ms / 1000)
        for member in (*status.members, *status.learners):
            if member.name != status.node:
                page.add("phalanx_suspected", member.name in status.suspects, member.name)

    def _read_links(self, page: Page) -> None:
        transport, group = self._inside.transport, self._inside.node.group
        if not isinstance(transport, TcpTransport):
            return
        page.add("phalanx_clients", transport.clients)
        for reason, count in transport.refusals.items():
            page.add("phalanx_refused_connections", count, reason)
        if ends_at := transport.certificate_ends_at:
            page.add("phalanx_tls_certificate_expiry_timestamp_seconds", ends_at)
        for member in group.view.everyone if group.view is not None else ():
            if member == group.me:
                continue
            connection = transport.connection(member.address)
            page.add("phalanx_peer_connected", connection is not None, member.name)
            if connection is None:
                continue
            page.add("phalanx_peer_unsent_bytes", connection.unsent, member.name)
            if (found := counted(connection.info("socket"))) is not None:
                page.add("phalanx_peer_received_bytes", found.received, member.name)
                page.add("phalanx_peer_sent_bytes", found.sent, member.name)
                page.add("phalanx_peer_resent_segments", found.resent, member.name)
                page.add("phalanx_peer_round_trip_seconds", found.round_trip_us / 1_000_000, member.name)

    def _read_group(self, page: Page, group: GroupStatus) -> None:
        node, name = self._inside.node, group.name
        page.add("phalanx_group_hosts", len(group.hosts), name)
        page.add("phalanx_group_learners", len(group.learners), name)
        page.add("phalanx_group_suspended", 0, name)
        page.add("phalanx_group_refuses_writes", bool(group.refuses_writes), name)
        if not group.here:
            return
        page.add("phalanx_group_synced", group.synced, name)
        page.add("phalanx_group_queued_bytes", group.queued, name)
        page.add("phalanx_group_unread_bytes", node.group.unread(group.id), name)
        if (channel := node.group.channel(group.id)) is not None:
            page.add("phalanx_group_unstable_bytes", channel.unstable, name)
            page.add("phalanx_group_kept_bytes", channel.kept, name)
        replica = node.gateway.replica(name)
        if replica is not None:
            page.add("phalanx_object_position", replica.position, name)
            page.add("phalanx_object_sessions", len(replica.sessions), name)
            page.add("phalanx_object_version", replica.kind.version, name)

    def _read_happened(self, page: Page) -> None:
        happened = self.machine.happened
        page.histogram("phalanx_view_change_seconds", happened.pauses)
        page.add("phalanx_exclusions", happened.exclusions)
        for name, sent, delivered in happened.batches():
            page.add("phalanx_group_sent_batches", sent, name)
            page.add("phalanx_group_delivered_batches", delivered, name)
        for labels, count in happened.transfers.items():
            page.add("phalanx_group_transfers", count, *labels)
        for measure, counts in (
            ("phalanx_suspicions", happened.suspicions),
            ("phalanx_view_changes", happened.view_changes),
            ("phalanx_group_delivered_messages", happened.messages),
            ("phalanx_group_delivered_bytes", happened.bytes),
            ("phalanx_group_fetched_bytes", happened.fetched),
            ("phalanx_group_left_out_batches", happened.left_out),
        ):
            for label, count in counts.items():
                page.add(measure, count, label)

    def _read_requests(self, page: Page, status: Status) -> None:
        requests = self.machine.requests
        page.add("phalanx_requests_waiting", self._inside.node.gateway.intake.waiting)
        for kind, count in requests.received.items():
            page.add("phalanx_requests_received", count, kind)
        for outcome, count in requests.answered.items():
            page.add("phalanx_requests_answered", count, outcome)
        for kind, durations in requests.durations.items():
            page.histogram("phalanx_request_seconds", durations, kind)
        for operation, count in status.slow.items():
            page.add("phalanx_slow_operations", count, operation)

    def _read_files(self, page: Page, status: Status) -> None:
        page.choice("phalanx_disk_space", status.disk, SPACES)
        if self._disk is not None:
            page.histogram("phalanx_sync_seconds", self._disk.durations, "votes")
        if self._log is not None and self._file is not None:
            page.histogram("phalanx_sync_seconds", self._log.durations, "log")
            page.add("phalanx_log_records", self._log.records)
            page.add("phalanx_log_bytes", self._file.size)
            page.add("phalanx_log_segments", self._file.segments)
