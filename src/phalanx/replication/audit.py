"""Audits: replicas of a deterministic object compare digests at agreed positions, and find who diverged (SCENARIOS 35).

An audit begins when a position falls due.  Each host then orders a report of its digest there, and every replica judges
the same reports in the same order: a digest that more than half of the hosts share is the group's; hosts with another
one have diverged.  If all have reported and no digest has a majority, nobody can say who is right: writes stop until
hosts leave and the rest agree.  Those that came meanwhile have not reported, and have the state of one that may be gone:
once no two that have reported and are still there differ, all hosts are asked anew.

Who the hosts are is ordered as well: each report says it, and so do the hosts of every view that begins while an audit is
open.  What was on its way from a view to the next says it of the former one, and is not believed.

Everything here follows from ordered entries alone, and nothing from the replica's own state or its present view.  So a
diverged replica keeps the same schedule as the others and still understands the verdict on itself; and whoever reads the
entries in another view, from a log or after a transfer, stops and goes on where the others did.  (Judged by the hosts of
the reader's view, a group of two that had stopped had not for the one who read of it alone: it ran commands that the
other had refused.)  Passive; replicated state.
"""

import hashlib
from collections import Counter
from typing import NamedTuple

import msgspec

from phalanx.model.view import Name
from phalanx.replication.entries import Hosts, Report
from phalanx.replication.state import DIGEST_BYTES

AUDIT_INTERVAL = 1_024
"""Ordered entries between two audits of a small state."""

AUDITED_BYTES_PER_ENTRY = 1_024
"""The interval grows with the state, so that digests encode no more than this per entry on average."""

PATIENCE = 16
"""Intervals after which an audit is given up if a host has not reported: it was a learner when the audit began."""


ALONE = b"alone"
"""What a host that is alone agrees on with itself, where its digest at the audit is not known."""


class Finding(NamedTuple):
    """A verdict.  `diverged` are the hosts found wrong; empty: there is no majority (`agreed` is empty then too), or,
    if `agreed` is not empty, one has been found again after there was none.

    Between `since` (the last position at which the hosts agreed) and `position` something was not deterministic.
    """

    position: int
    since: int
    agreed: bytes
    diverged: tuple[Name, ...]


def digest_of(state: bytes, replies: int, version: int) -> bytes:
    """What hosts compare: of the object's digest, the checksum of all outcomes, and the version of the class."""
    parts = state + replies.to_bytes(4, "big") + version.to_bytes(4, "big")
    return hashlib.blake2b(parts, digest_size=DIGEST_BYTES).digest()


class Audit(msgspec.Struct, array_like=True):
    """The audit under way or past, and when the next one is due.  `named` have been found diverged in it."""

    interval: int = AUDIT_INTERVAL
    due: int = AUDIT_INTERVAL
    """Zero: right away, though writes are stopped."""
    position: int = 0
    since: int = 0
    reports: dict[Name, Report] = msgspec.field(default_factory=dict)
    agreed: bytes = b""
    named: tuple[Name, ...] = ()
    complete: bool = True
    """All hosts have reported: entries that were on their way before the reports do not end an audit."""
    stopped: bool = False
    """There is no majority: writes are refused."""
    hosts: tuple[Name, ...] = ()
    """Who judge; empty: nobody has said yet who they are."""

    @property
    def is_open(self) -> bool:
        """Who the hosts are may matter still."""
        return self.stopped or not self.complete

    def begins(self, position: int) -> bool:
        """An entry was applied at that position: is an audit due right here?"""
        patience = 0 if self.complete or not self.due else PATIENCE * self.interval
        if position < self.due + patience or (self.stopped and self.due):
            return False
        self.complete = False
        if self.agreed:
            self.since = self.position
        self.position = position
        self.due = position + self.interval
        self.reports, self.agreed, self.named, self.hosts = {}, b"", (), ()
        return True

    def hear(self, host: Name, said: Report | Hosts, view: int, least_interval: int) -> Finding | None:
        """That was ordered in that view; what follows, if it has not been said before.  A report on an audit that is over
        counts for nothing, nor does a second one."""
        if isinstance(said, Report) and said.position == self.position:
            self.reports.setdefault(host, said)
        hosts = said.hosts if isinstance(said, Report) else said
        if hosts.view == view and self.is_open:
            self.hosts = hosts.names
        found = self._judge(self.hosts, least_interval)
        if self.stopped and isinstance(said, Hosts) and self._may_agree():
            self.due = 0  # each host says so once in a view, so this ends; after the last one has, all of them report
        return found

    def _may_agree(self) -> bool:
        """Of the hosts some have not reported, and those that have do not disagree among themselves."""
        digests = [self.reports[host].digest for host in self.hosts if host in self.reports]
        return len(digests) < len(self.hosts) and len(set(digests)) <= 1

    def _judge(self, hosts: tuple[Name, ...], least_interval: int) -> Finding | None:
        if not hosts:
            return None
        digests = {host: self.reports[host].digest for host in hosts if host in self.reports}
        self.complete = self.complete or len(digests) == len(hosts)
        agreed, count = (Counter(digests.values()).most_common(1) or [(b"", 0)])[0]
        if count * 2 > len(hosts):
            return self._settle(agreed, digests, least_interval)
        if self.stopped and len(hosts) == 1:
            self.stopped = False  # it came after the audit, so it will never report, and now nobody else is there
            return Finding(self.position, self.since, ALONE, ())
        if len(digests) == len(hosts) and not self.stopped:
            self.stopped = True
            return Finding(self.position, self.since, b"", ())
        return None

    def _settle(self, agreed: bytes, digests: dict[Name, bytes], least_interval: int) -> Finding | None:
        resumed, self.stopped, self.agreed = self.stopped, False, agreed
        cost = next(report.cost for report in self.reports.values() if report.digest == agreed)
        self.interval = max(least_interval, cost // AUDITED_BYTES_PER_ENTRY)
        diverged = tuple(
            sorted(host for host, digest in digests.items() if digest != agreed and host not in self.named)
        )
        self.named += diverged
        if not diverged and not resumed:
            return None
        return Finding(self.position, self.since, agreed, diverged)
