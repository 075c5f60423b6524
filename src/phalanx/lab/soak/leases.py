"""No lease that was kept alive ends early, and none comes back.

A lease runs in ordered time, which is slower than real time, never faster: it lasts for its whole length at least from
the moment on in which a sign of life was asked for that was acknowledged.  Its end is known from the moment in which
somebody was told: a sign of life that came too late, a put under it that was refused, or its keys that were gone.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Protocol

from phalanx.lab.soak.records import Call, Round
from phalanx.model.clock import MILLISECOND
from phalanx.model.history import Outcome

SLACK_NS = 20 * MILLISECOND
"""Stamps are whole milliseconds, and the clocks of the wall and of the judge are not the same."""


class Known(Protocol):
    """A moment from which on the store was known to have come so far."""

    @property
    def at(self) -> int: ...
    @property
    def revision(self) -> int: ...


class Leases:
    """All leases of a round."""

    def __init__(self, round_: Round, known: Sequence[Known]) -> None:
        self._known = [(each.revision, each.at) for each in known]
        self._signs: dict[int, list[Call]] = {}
        self._ttl_ns: dict[int, int] = {}
        self._revoked: dict[int, int] = {}
        self._ends: list[tuple[int, int, str]] = []
        for call in round_.calls:
            self._take(call)
        self._told = sorted((told.event.revision, told.at) for watched in round_.watched for told in watched.told)
        for event in round_.log:
            if event.item is None and event.previous is not None and event.previous.lease:
                self._ends.append((event.previous.lease, self._first_known(event.revision), f"{event}"))

    def _take(self, call: Call) -> None:
        match call.f, call.arguments, call.outcome:
            case "grant", _, Outcome.OK:
                self._signs.setdefault(call.result.id, []).append(call)
                self._ttl_ns[call.result.id] = call.result.ttl_ms * MILLISECOND
            case "keep_alive", (int(lease),), Outcome.OK if call.result is not None:
                self._signs.setdefault(lease, []).append(call)
            case "keep_alive", (int(lease),), Outcome.OK if call.completed is not None:
                self._ends.append((lease, call.completed, str(call)))
            case "revoke", (int(lease),), Outcome.OK | Outcome.INFO:
                self._revoked[lease] = min(call.invoked, self._revoked.get(lease, call.invoked))
            case "put", (_, _, int(lease)), Outcome.FAIL if call.error == "LeaseLost" and call.completed is not None:
                self._ends.append((lease, call.completed, str(call)))

    def _first_known(self, revision: int) -> int:
        """When anybody knew that the store had got there."""
        moments = []
        for known in (self._known, self._told):
            at = bisect_left(known, (revision, 0))
            moments += [min(moment for _, moment in known[at:])] if at < len(known) else []
        return min(moments, default=1 << 62)

    def flaws(self) -> Iterator[str]:
        """What must not be."""
        for lease, end, what in self._ends:
            if lease not in self._ttl_ns:
                continue  # nobody learned of it, or it is older than the round
            if lease in self._revoked and self._revoked[lease] <= end:
                continue
            last = max(call.invoked for call in self._signs[lease])
            if end + SLACK_NS < last + self._ttl_ns[lease]:
                early = (last + self._ttl_ns[lease] - end) / MILLISECOND
                yield f"lease {lease} ended {early:.0f} ms early: {what}"
