"""Going over from one version of an object's class to the next, at one place in the order, at all replicas or none.

A host orders an `Upgrade` in a view all of whose hosts have said that they can run the new version, and in which nobody
is learning the group (`rollout`).  From there on the replicas *hold* what is ordered.  Each host converts a copy of the
state as it is there, and orders what that came to (`Converted`): a digest, or why there is no new state.  With the last
host's digest, if all are equal, the replicas go over to the new state; with the first fault, or a digest that is not that
of the others, or when the view ends, they stay with the former one.  Then what was held is applied, in its order.

So the end follows from the entries alone, for whoever reads them again from a log: the hosts are named in the entry, and
the view is that of the delivery.  An upgrade that was on its way when its view ended is void wherever it is delivered, so
it never meets a host of a later view, which may have former code.  No state is ever used on which the hosts did not
agree, and none that a restart comes to by other code: it must have the digest that was agreed on.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from phalanx.model.events import Delivered
from phalanx.model.view import Name
from phalanx.replication import entries
from phalanx.replication.entries import UNREADABLE, Converted, Upgrade
from phalanx.replication.objects import ObjectType
from phalanx.replication.outcome import text_of
from phalanx.replication.versions import CannotRun, fault_in

TEXT_MAX = 1_000
"""Characters of what went wrong in a conversion: it is ordered."""

A_TURN = 1 << 40
"""What a conversion costs who reads of it, in bytes of entries: more than is meant for a turn.  It goes through the whole
state, by the class's own code, and a log may hold one for each version that there has been."""

AGREED = None
"""The end of an upgrade that takes place; else a text says why not."""


class Pending(msgspec.Struct, array_like=True):
    """An upgrade under way at a replica, from `position` on.  Replicated state."""

    upgrade: Upgrade
    position: int
    heard: dict[Name, bytes] = msgspec.field(default_factory=dict)
    held: list[Delivered] = msgspec.field(default_factory=list)

    @property
    def agreed(self) -> bytes:
        """The digest that all who were heard have come to."""
        return next(iter(self.heard.values()), b"")

    def hold(self, delivered: Delivered) -> tuple[str | None, Delivered] | None:
        """A run of entries, of the upgrade's view.  None: it is held; else this is the end (`AGREED`, or the fault), and
        so much of the run comes after it."""
        payloads = delivered.payloads
        before = []
        for place, payload in enumerate(payloads):
            converted = self._of_ours(payload)
            if converted is None:
                before.append(payload)
                continue
            fault = self._hear(delivered.sender.name, converted)
            if fault is not None or set(self.heard) >= set(self.upgrade.hosts):
                self._keep(delivered, before)
                return fault, _run(delivered, payloads[place + 1 :])
        self._keep(delivered, before)
        return None

    def _keep(self, delivered: Delivered, payloads: Sequence[bytes]) -> None:
        if payloads:
            self.held.append(_run(delivered, payloads))

    def _of_ours(self, payload: bytes) -> Converted | None:
        try:
            entry = entries.decode(payload)
        except UNREADABLE:
            return None
        return entry if isinstance(entry, Converted) and entry.position == self.position else None

    def _hear(self, host: Name, converted: Converted) -> str | None:
        """Why the upgrade has failed, if it has."""
        if not converted.digest:
            return f"the conversion fails at {host}: {converted.fault}"
        self.heard[host] = converted.digest
        if converted.digest != self.agreed:
            first = next(iter(self.heard))
            return f"the conversion is not deterministic: {first} and {host} come to different states"
        return None


def _run(delivered: Delivered, payloads: Sequence[bytes]) -> Delivered:
    """Some payloads of that run."""
    return Delivered(delivered.group, delivered.view, delivered.sender, delivered.stamp, list(payloads))


def convert(newest: ObjectType[Any], instance: Any, upgrade: Upgrade, position: int) -> tuple[Any, Converted]:
    """As a host of the upgrade's view: the new state, if there is one, and what to say."""
    try:
        new, digest = _converted(newest, instance, upgrade)
    except MemoryError:
        raise  # it is this process that failed, not the conversion
    except (Exception, SystemExit) as error:
        return None, Converted(position, b"", _text_of(error))
    return new, Converted(position, digest)


def agreed_on(newest: ObjectType[Any], instance: Any, pending: Pending, made: Any, costs: Callable[[int], None]) -> Any:
    """The new state of an upgrade that took place: `made` here, or else, for who reads of it, made now, of which `costs`
    is told.  Raises `CannotRun` if it is not to be had here."""
    if made is not None:
        return made
    costs(A_TURN)
    version = pending.upgrade.to
    try:
        new, digest = _converted(newest, instance, pending.upgrade)
    except (CannotRun, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise CannotRun(
            f"its upgrade to version {version} succeeded, and fails with this code: {_text_of(error)}"
        ) from error
    if digest != pending.agreed:
        raise CannotRun(
            f"its upgrade to version {version} comes to another state with this code than it did: {SAME_CODE}"
        )
    return new


SAME_CODE = "start this node with the code that the hosts upgraded with"


def _converted(newest: ObjectType[Any], instance: Any, upgrade: Upgrade) -> tuple[Any, bytes]:
    if (fault := fault_in(newest, upgrade.to, upgrade.contract)) is not None:
        raise CannotRun(fault)
    kind = newest.versions[upgrade.to]
    new = kind.converted(instance, upgrade.since)
    return new, kind.state.digest(new).value


def _text_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {text_of(error)}"[:TEXT_MAX]
