"""Audits: replicas of a deterministic object compare digests at agreed positions, and find who diverged (SCENARIOS 35).

An audit begins when a position falls due.  Each host then orders a report of its digest there, and every replica judges
the same reports in the same order: a digest that more than half of the hosts share is the group's; hosts with another
one have diverged.  If all have reported and no digest has a majority, nobody can say who is right: writes stop until
hosts leave and the rest agree.

Everything here follows from ordered entries and views alone, and nothing from the replica's own state, so a diverged
replica keeps the same schedule as the others and still understands the verdict on itself.  Passive; replicated state.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from phalanx.model.view import Name
from phalanx.replication.entries import Report

AUDIT_INTERVAL = 1_024
"""Ordered entries between two audits of a small state."""

AUDITED_BYTES_PER_ENTRY = 1_024
"""The interval grows with the state, so that digests encode no more than this per entry on average."""

PATIENCE = 16
"""Intervals after which an audit is given up if a host has not reported: it was a learner when the audit began."""


class Finding(NamedTuple):
    """A verdict.  `diverged` are the hosts found wrong; empty: there is no majority (`agreed` is empty then too), or,
    if `agreed` is not empty, one has been found again after there was none.

    Between `since` (the last position at which the hosts agreed) and `position` something was not deterministic.
    """

    position: int
    since: int
    agreed: bytes
    diverged: tuple[Name, ...]


class Audit(msgspec.Struct, array_like=True):
    """The audit under way or past, and when the next one is due.  `named` have been found diverged in it."""

    interval: int = AUDIT_INTERVAL
    due: int = AUDIT_INTERVAL
    position: int = 0
    since: int = 0
    reports: dict[Name, Report] = msgspec.field(default_factory=dict)
    agreed: bytes = b""
    named: tuple[Name, ...] = ()
    complete: bool = True
    """All present hosts have reported: entries that were on their way before the reports do not end an audit."""
    stopped: bool = False
    """There is no majority: writes are refused."""

    def begins(self, position: int) -> bool:
        """An entry was applied at that position: is an audit due right here?"""
        patience = 0 if self.complete else PATIENCE * self.interval
        if position < self.due + patience or self.stopped:
            return False
        self.complete = False
        if self.agreed:
            self.since = self.position
        self.position = position
        self.due = position + self.interval
        self.reports, self.agreed, self.named = {}, b"", ()
        return True

    def report(self, host: Name, report: Report) -> None:
        """A host's report was ordered.  One on an audit that is over counts for nothing, nor does a second one."""
        if report.position == self.position:
            self.reports.setdefault(host, report)

    def judge(self, hosts: Sequence[Name], least_interval: int) -> Finding | None:
        """What the reports so far say about the present hosts, if it has not been said before."""
        digests = {host: self.reports[host].digest for host in hosts if host in self.reports}
        self.complete = self.complete or len(digests) == len(hosts)
        agreed, count = (Counter(digests.values()).most_common(1) or [(b"", 0)])[0]
        if count * 2 > len(hosts):
            return self._settle(agreed, digests, least_interval)
        if len(digests) == len(hosts) and hosts and not self.stopped:
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
