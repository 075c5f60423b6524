"""The global state of a running group: each member's, and what is under way between each two, as of one consistent cut.

Chandy and Lamport, "Distributed Snapshots: Determining Global States of Distributed Systems" (ACM TOCS 1985), section 3,
over the channels that a group's multicasts make: one from each host to each, itself included, which keeps the order of
what its sender sent.  (So any order but unordered will do; in total order everybody records at the same place.)

    anybody      START     please, all of you
    each host    on the first START or MARKER: record the state, multicast MARKER before anything else;
                 of each host the payloads between that moment and its MARKER are what was in the channel from it;
                 once there is a MARKER of all: REPORT state and channels

Where the paper's initiator records at once, this one asks itself by START as it asks the others, so a state is recorded
between two deliveries and never in the middle of one.  That is 2 n + 1 multicasts.

A snapshot belongs to the view in which START was sent, and is void when that view ends before all have reported.  Virtual
synchrony makes that simple: whoever is left has seen the same of it.

The cut need not be a moment that there was.  But the system could have gone through it on its way from the state in
which the snapshot was begun to that in which it ended (the paper's section 4), so what holds of it and never ceases to
hold once it does (a *stable* predicate: all are idle for good, these wait for each other, the token is lost) holds then.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import msgspec

from phalanx.errors import ConfigurationError, NotHappened, TooLarge, Unavailable
from phalanx.model.globalstate import GlobalState
from phalanx.model.view import Name

REPORT_BYTES_MAX = 16 << 20
"""Of one member: its state and what was in the channels to it.  Every member gets every report, and holds the n of them
in memory; and channels could be as full as the senders' windows."""

NO_VIEW = -1

PLAIN = b"\0"
"""First byte of an application's payload."""
_OURS = b"\1"
"""First byte of all others."""


class Key(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which snapshot: of the view, of that initiator, by its own count."""

    view: int
    initiator: Name
    number: int


class Start(msgspec.Struct, frozen=True, array_like=True, tag="s", gc=False):
    """Take part in that snapshot."""

    key: Key


class Marker(msgspec.Struct, frozen=True, array_like=True, tag="m", gc=False):
    """What the sender sent before this is in its state as sent, what follows is not."""

    key: Key


class Report(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """The sender's part.  `channels`: by the name of the host from which they lead here.  `size`: of all that, in bytes;
    if it is more than `REPORT_BYTES_MAX`, the rest is empty."""

    key: Key
    size: int
    state: bytes
    channels: dict[Name, list[bytes]]


Message = Start | Marker | Report

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def decoded(payload: bytes) -> Message | None:
    """A message of ours, as it travels; None: it is none."""
    if payload[:1] != _OURS:
        return None
    try:
        message: Message = _decode(memoryview(payload)[1:])
        return message
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class Taken(NamedTuple):
    """What became of a payload that was delivered."""

    payload: bytes | None
    """The application's; None: it was one of ours."""
    sends: tuple[bytes, ...] = ()
    """To be multicast before anything else is."""


class _Recording:
    """One host's part of a snapshot that is under way."""

    def __init__(self, state: bytes, hosts: Iterable[Name]) -> None:
        self.state = state
        self.size = len(state)
        self.channels: dict[Name, list[bytes]] = {name: [] for name in hosts}
        self.open = set(self.channels)
        """Whose marker has not come."""

    def add(self, sender: Name, payload: bytes) -> None:
        self.size += len(payload)
        if self.size <= REPORT_BYTES_MAX:
            self.channels[sender].append(payload)

    def report(self, key: Key) -> Report:
        if self.size > REPORT_BYTES_MAX:
            return Report(key, self.size, b"", {})
        return Report(key, self.size, self.state, {name: each for name, each in self.channels.items() if each})


class Recorder:
    """One process's part in the snapshots of one group.  It takes what the group delivers, in order, and says what to
    multicast.  `record` gives the application's state between two deliveries."""

    def __init__(self, me: Name, record: Callable[[], bytes]) -> None:
        self._me = me
        self._record = record
        self._view = NO_VIEW
        self._hosts: frozenset[Name] = frozenset()
        self._count = 0
        self._recordings: dict[Key, _Recording] = {}
        self._wanted: dict[Key, dict[Name, Report]] = {}
        """Of the snapshots that were begun here and have not ended, the reports that have come."""
        self.results: list[tuple[Key, GlobalState | NotHappened]] = []
        """Of those that have ended, in order.  Whoever reads them empties the list."""

    def installed(self, view: int, hosts: Collection[Name]) -> None:
        """A view begins in which these host the group: all that is under way is void."""
        if view != self._view:
            self._end(f"view {self._view} ended before all of its hosts had reported; ask for another")
            self._view, self._hosts = view, frozenset(hosts)

    def out(self, reason: str) -> None:
        """This process has no place in the group, until a view is installed in which it has."""
        self._end(reason)
        self._view, self._hosts = NO_VIEW, frozenset()

    def _end(self, why: str) -> None:
        self._recordings.clear()
        self.results += [(key, Unavailable(f"no snapshot was taken: {why}")) for key in self._wanted]
        self._wanted.clear()

    def start(self) -> tuple[Key, bytes] | None:
        """Begin a snapshot: its key, and what is to be multicast.  None: this process is no host of the group."""
        if self._me not in self._hosts:
            return None
        self._count += 1
        key = Key(self._view, self._me, self._count)
        self._wanted[key] = {}
        return key, _OURS + _encode(Start(key))

    def forget(self, key: Key) -> None:
        """Nobody waits for that snapshot any more."""
        self._wanted.pop(key, None)

    def take(self, sender: Name, payload: bytes) -> Taken:
        """A payload was delivered.  Raises `ConfigurationError` if its sender does not use snapshots in this group."""
        if payload[:1] == PLAIN:
            body = payload[1:]
            for recording in self._recordings.values():
                if sender in recording.open:
                    recording.add(sender, body)
            return Taken(body)
        message = decoded(payload)
        if message is None:
            raise ConfigurationError(f"{sender} multicasts in this group without snapshots, as if it were another")
        return Taken(None, self._follow(sender, message))

    def _follow(self, sender: Name, message: Message) -> tuple[bytes, ...]:
        key = message.key
        if key.view != self._view or self._me not in self._hosts:
            return ()  # of a view that has ended: it was sent anew in this one
        if isinstance(message, Report):
            self._collect(sender, message)
            return ()
        sends: list[bytes] = []
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = _Recording(self._record(), self._hosts)
            sends.append(_OURS + _encode(Marker(key)))
        if isinstance(message, Marker):
            recording.open.discard(sender)
        if not recording.open:
            del self._recordings[key]
            sends.append(_OURS + _encode(recording.report(key)))
        return tuple(sends)

    def _collect(self, sender: Name, report: Report) -> None:
        reports = self._wanted.get(report.key)
        if reports is None:
            return
        reports[sender] = report
        if reports.keys() == self._hosts:
            del self._wanted[report.key]
            self.results.append((report.key, _assembled(report.key.view, reports)))


def _assembled(view: int, reports: dict[Name, Report]) -> GlobalState | NotHappened:
    large = [f"{name}: {report.size}" for name, report in sorted(reports.items()) if report.size > REPORT_BYTES_MAX]
    if large:
        limit = f"state and channels of one host may have {REPORT_BYTES_MAX} bytes"
        return TooLarge(f"no snapshot was taken: {limit}; {', '.join(large)}")
    return GlobalState(
        view,
        {name: report.state for name, report in sorted(reports.items())},
        {
            (source, target): tuple(payloads)
            for target, report in sorted(reports.items())
            for source, payloads in sorted(report.channels.items())
        },
    )
