"""A replica's state in slices: taken while entries go on being applied, put together again while heartbeats go on.

All that the next entries depend on is in it: the object's state, of which version of its class that is, an upgrade that
is under way, the sessions, the audit and the counters.  What is small is in the first slice, `Saved`; what may be large,
the sessions and the object's own slices, follows as long as there is any, in `More`.  Small states have the first slice
alone.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from phalanx.errors import Diverged
from phalanx.model.clock import Stamp
from phalanx.replication.audit import Audit
from phalanx.replication.objects import ObjectType
from phalanx.replication.session import SESSION_BYTES, Limits, SavedSession
from phalanx.replication.sessions import Sessions
from phalanx.replication.upgrading import Pending
from phalanx.replication.versions import CannotRun, fault_in

T = TypeVar("T")


class Saved(msgspec.Struct, array_like=True, tag="saved"):
    """The first slice.  `digest` is of the state that is saved, so that a state that does not survive it is noticed.
    `time_ms`, `stamped_ms`: of the sessions.  `sessions`, `state`: as in `More`."""

    version: int
    contract: str
    pending: Pending | None
    position: int
    stamp: Stamp
    token: int
    replies: int
    view: int
    between_ms: int
    audit: Audit
    digest: bytes
    time_ms: int
    stamped_ms: int
    sessions: list[SavedSession]
    state: list[bytes]


class More(msgspec.Struct, array_like=True, tag="more"):
    """A further slice: sessions, least recently active first, and after them slices of the object's state."""

    sessions: list[SavedSession]
    state: list[bytes]


_BEGINNING = b"\xa5saved"
"""Of a `Saved`, behind how many fields there are."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Saved | More).decode


def version_in(beginning: bytes) -> int | None:
    """Of which version of its class a state is whose first slice begins like that; None: it is none, or of a version
    beyond 127, which is further encoded."""
    start = beginning.find(_BEGINNING, 0, len(_BEGINNING) + 3) + len(_BEGINNING)
    found = beginning[start] if start in (len(_BEGINNING) + 1, len(_BEGINNING) + 3) and len(beginning) > start else 128
    return found if found < 128 else None


class Counters(NamedTuple):
    """Where a replica is: see `Replica`."""

    position: int
    stamp: Stamp
    token: int
    replies: int
    view: int
    between_ms: int


def slices(
    kind: ObjectType[T],
    instance: T,
    sessions: Sessions,
    counters: Counters,
    audit: Audit,
    pending: Pending | None,
    size: int,
) -> Iterator[bytes | None]:
    """All of it as it is when the first slice is taken, in slices of about `size` bytes (None: the next comes in another
    turn).  To be closed if the rest is not wanted."""
    frozen = sessions.freeze()
    state = kind.state.slices(instance, size)
    try:
        digest = kind.state.digest(instance).value
        ready = next(state)  # which freezes the object's state
        of = kind.version, kind.contract, pending
        part: Saved | More = Saved(*of, *counters, audit, digest, frozen.time_ms, frozen.stamped_ms, [], [])
        room = size
        for some in frozen.slices(size):
            part.sessions += some  # which may change when something is yielded: encoded before that
            room -= sum(each.size + SESSION_BYTES for each in some)
            if room <= 0:
                yield _encode(part)
                part, room = More([], []), size
        for data in chain((ready,), state):
            if data is None:
                part = _decode(_encode(part))  # its own, for the sessions may change now
                yield None
                continue
            part.state.append(data)
            room -= len(data)
            if room <= 0:
                yield _encode(part)
                part, room = More([], []), size
        if isinstance(part, Saved) or part.sessions or part.state:
            yield _encode(part)
    finally:
        sessions.thaw(frozen)
        state.close()


class Restoration(Generic[T]):
    """A replica's state on its way back.  After the last slice: `finish`."""

    def __init__(self, newest: ObjectType[T], limits: Limits) -> None:
        self._newest = newest
        self._limits = limits
        self._saved: Saved | None = None
        self.kind: ObjectType[Any] = newest
        """The version of the class that the state is of, once the first slice is there."""
        self.object: T = newest.state.create()
        self.sessions = Sessions(limits)

    def take(self, data: bytes) -> None:
        """The next slice.  Raises `msgspec.DecodeError` if it is none, `CannotRun`, and whatever the class's own hooks
        raise."""
        part = _decode(data)
        if isinstance(part, Saved):
            if self._saved is not None:
                raise msgspec.DecodeError("a second beginning")
            if (fault := fault_in(self._newest, part.version, part.contract)) is not None:
                raise CannotRun(fault)
            self._saved = part
            self.kind = self._newest.versions[part.version]
            self.object = self.kind.state.create()
            self.sessions = Sessions(self._limits, part.time_ms, part.stamped_ms)
        elif self._saved is None:
            raise msgspec.DecodeError("a snapshot without its beginning")
        self.sessions.restore(part.sessions)
        for each in part.state:
            self.kind.state.restore_slice(self.object, each)

    def finish(self) -> tuple[Counters, Audit, Pending | None]:
        """All slices are here; `object` and `sessions` are what was saved.  Raises `Diverged` if the object's state does
        not survive being saved, and `msgspec.DecodeError` if there is no beginning."""
        saved = self._saved
        if saved is None:
            raise msgspec.DecodeError("a snapshot without its beginning")
        if self.kind.state.digest(self.object).value != saved.digest:
            at = f"{self.kind.name}: the state at position {saved.position}"
            raise Diverged(f"{at} changes when saved and restored")
        counters = Counters(saved.position, saved.stamp, saved.token, saved.replies, saved.view, saved.between_ms)
        return counters, saved.audit, saved.pending
