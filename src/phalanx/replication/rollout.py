"""Which versions of its class the hosts of a group can run, and when it goes over to another: what one node knows of it.

Nothing here is replicated state.  In each view every host says once which versions it has code for besides the one that
the group runs (one that has none says nothing), and learners cannot speak.  When all hosts have a later one, by the same
contract, and nobody learns, the eldest orders an upgrade to the last such version; `upgrading` says what becomes of it.
If the hosts cannot agree on the new state, it is tried again later: another state may be converted well.
"""

from collections.abc import Mapping
from typing import Any

from phalanx.model.clock import SECOND
from phalanx.model.view import Name
from phalanx.replication import entries
from phalanx.replication.replica import Replica

QUIET_NS = 2 * SECOND
"""For so long a view has lasted in which all can, unless something else is said: a node that is just being restarted is
mostly back by then."""

AGAIN_NS = 5 * SECOND
"""An upgrade that was ordered and has not begun by then is ordered again: this node was behind when it ordered it."""

RETRY_NS = 60 * SECOND
"""From one conversion that failed to the next, in one view: each holds up commands for as long as it takes."""


class Rollout:
    """See the module's text.  Times are monotonic nanoseconds."""

    def __init__(self, now: int, quiet_ns: int = QUIET_NS) -> None:
        self._quiet_ns = quiet_ns
        self._able: dict[Name, Mapping[int, str]] = {}
        self._said = False
        self._at = now + self._quiet_ns
        self.fault = ""
        """Why the last attempt failed."""

    def begin(self, now: int) -> None:
        """A view begins."""
        self._able = {}
        self._said = False
        self._at = now + self._quiet_ns

    def heard(self, host: Name, versions: Mapping[int, str]) -> None:
        """What that host can run besides the present version."""
        self._able[host] = versions

    def failed(self, fault: str, now: int) -> None:
        """The hosts did not come to one new state."""
        self.fault = fault
        self._at = now + RETRY_NS

    def upgraded(self, now: int) -> None:
        """The group runs another version."""
        self.fault = ""
        self._at = now + self._quiet_ns

    def to_say(self, replica: Replica[Any], me: Name) -> bytes | None:
        """What this node has to tell the others, once in a view."""
        if self._said or me not in replica.group.hosts:
            return None
        self._said = True
        present, newest = replica.kind.version, replica.newest
        more = {number: kind.contract for number, kind in newest.versions.items() if number > present}
        return entries.encode(entries.Able(more)) if more else None

    def due(self, replica: Replica[Any], me: Name) -> int | None:
        """When this node is to order an upgrade; None: it is not."""
        if replica.newest.version == replica.kind.version or replica.group.hosts[:1] != (me,):
            return None
        waits = replica.is_upgrading or replica.stopped or self._target(replica) is None
        return self._at if not waits else None

    def order(self, replica: Replica[Any], me: Name, now: int) -> bytes | None:
        """The entry, if it is due."""
        at, to = self.due(replica, me), self._target(replica)
        if at is None or at > now or to is None:
            return None
        self._at = now + AGAIN_NS
        contract, hosts = replica.newest.versions[to].contract, replica.group.hosts
        return entries.encode(entries.Upgrade(replica.installed, replica.kind.version, to, contract, hosts))

    def _target(self, replica: Replica[Any]) -> int | None:
        """The last version that all can run."""
        group, newest = replica.group, replica.newest
        if group.learners:
            return None
        for number in range(newest.version, replica.kind.version, -1):
            contract = newest.versions[number].contract
            if all(self._able.get(host, {}).get(number) == contract for host in group.hosts):
                return number
        return None

    # --- for people

    def versions(self, replica: Replica[Any]) -> dict[Name, int]:
        """Up to which version each host can go, as far as it has said."""
        present = replica.kind.version
        return {host: max((present, *self._able.get(host, {}))) for host in replica.group.hosts}

    def why_not(self, replica: Replica[Any]) -> str:
        """Why the group does not run the last version that some host has code for; empty: it does."""
        group, known = replica.group, self.versions(replica)
        last, present = max(known.values(), default=0), replica.kind.version
        if last <= present:
            return ""
        to = f"{group.spec.name} is to go from version {present} to {last}"
        if self.fault:
            return f"{to}, but {self.fault}"
        if behind := [host for host, number in known.items() if number < last]:
            return f"{to} once {' '.join(behind)} can run that"
        if group.learners:
            return f"{to} once {' '.join(group.learners)} can be asked, when the state is there"
        contracts = {self._able[host][last] for host in group.hosts}
        if len(contracts) > 1:
            return f"{to}, but its hosts have different classes as that version"
        return f"{to} in a moment"
