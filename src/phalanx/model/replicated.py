"""How a plain class says which of its methods are replicated.

    class Counter:
        value: int = 0

        @command
        def add(self, amount: int) -> int:
            self.value += amount
            return self.value

        @query
        def read(self) -> int:
            return self.value

The decorators return the function they were given and only leave a mark on it: the class stays plain, its methods call
each other, and a test constructs it and calls it.  Everything else (codecs, contract, replication) is made from the
marks by `phalanx.replication.objects.describe`.

A command must be deterministic: what it does may depend on the state, its arguments and its `Context`, and on nothing
else: no clock, no random numbers, no order of a set, no input or output.

A command that needs the time or a fencing token asks for a `Context` by a keyword parameter with the default `OUTSIDE`:

        @command
        def acquire(self, owner: str, *, context: Context = OUTSIDE) -> int:
            self.owner, self.until_ms = owner, context.time_ms + 10_000
            return context.token

The replica passes it in; callers leave it out, which their type checker accepts because it has a default.  It is an
argument rather than a global "current context", so that a unit test passes the instant it wants to test.

A class for which time passes (its leases end, its sessions expire) has two more methods, without marks:

        def due_ms(self) -> int | None: ...             # from which time on it wants a turn; None: never
        def tick(self, context: Context) -> None: ...   # its turn

Every replica calls `tick` before the first entry of an ordered message whose time has reached `due_ms`, so a command
never sees what should have ended before it; and when nothing else is ordered, a host orders an empty message once that
time has come.  After a tick, `due_ms` must be later than the tick's `time_ms`.  `tick` should not raise: then it is
undone, as a command is, unless all commands are `atomic`: then what it has changed stands, alike at all replicas.

A class that gives out numbers, or whose callers remember something of it, can have one more method, without a mark:

        def recovered(self, context: Context) -> None: ...

It is called, like `tick`, when an operator has had the group go on with what one node's log held (`phalanx recover`):
something that others had acknowledged may be missing from the state, and something that is in it may have been told to
nobody, or something else in its place.  `context.token` is above every one of before, as all later ones are.  What was
given out must not be given out again.

A class whose changes can be followed has a method marked `@feed`, and two hooks:

        @feed()
        def watch(self, position: int, start: bytes, end: bytes | None) -> Feed: ...
        def position(self) -> int: ...                              # of the last change
        def touched(self, position: int) -> Collection[bytes]: ...  # the keys of all changes beyond that position

Positions are integers from 0 to 2**64 - 1 that grow with the changes, the same at every replica.  A feed is like a
query that begins at a position: it returns a struct with what changed beyond it in the range of keys from `start` up to
but without `end` (None: to the last), in `events`; the `position` that it has come to; and `more` if it stopped early.
It must return at least one event if there is one.  Gateways call it whenever something in the range was touched, and
keep nothing for slow followers but their position.  What `watch` raises (because the position is forgotten, say) ends
that watch, what `position` raises all watches of the object; where `touched` raises, each watch is asked.

A class whose state is large is saved and restored in *slices*, so that commands and heartbeats go on meanwhile: it has
the methods of `Sliced`, and a `digest`, since audits must not encode all of it:

        def snapshot_slices(self, size: int) -> Iterator[bytes | None]: ...
        def restore_slice(self, data: bytes) -> None: ...
        def digest(self) -> bytes: ...

The first slice is taken at once, the others whenever there is time, and commands are run in between: all of them must
tell the state as it was when the first was taken (so what a command changes, and has not been told yet, must be kept
until it is).  Of equal states the slices should be equal, so that another host can go on with a transfer whose donor
has failed.  Where it takes long to come to the next slice, None in its place lets commands and heartbeats go on first.
The iterator is closed (a generator sees `GeneratorExit`) when the rest is not wanted.

A class that takes the place of another one, whose state it goes on with, says so, and how:

        @version(2, replaces=AccountV1)
        class Account:
            cents: int = 0
            def upgrade(self, former: AccountV1) -> None:   # on a new instance; `former` is not used any more
                self.cents = former.balance * 100

Without the hook the state is taken over as it is: each attribute of the former class must be one of the new class, of the
same type, and the others keep what the constructor gives them.  The hook is as deterministic as a command.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar, overload

import msgspec

from phalanx.errors import ConfigurationError, PhalanxError
from phalanx.model.clock import NEVER, Stamp, wall_ms

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__phalanx_operation__"
"""The attribute of a function that holds its `Mark`."""

C = TypeVar("C", bound=type[Any])

_VERSION = "__phalanx_version__"
"""The attribute of a class that holds its `Version`."""


class Sliced(Protocol):
    """A class whose state is saved and restored in slices: see the module's text."""

    def snapshot_slices(self, size: int) -> Iterator[bytes | None]:
        """The state as it is when the first slice is taken, in slices of about `size` bytes; at least one.  None: there
        is another one, but not in this turn."""

    def restore_slice(self, data: bytes) -> None:
        """The next slice, in their order, of a state that this instance, which is new, is to become."""

    def digest(self) -> bytes:
        """Equal for equal states; cheap."""


class Context(msgspec.Struct, frozen=True, gc=False):
    """What an ordered message says besides its arguments: the same at every replica."""

    stamp: Stamp = NEVER
    """When the sender ordered it, by the group's hybrid logical clock.  Within a group it never goes back."""
    sender: str = ""
    """The node through which the command came, as "name#incarnation".  Nodes, not callers."""
    position: int = 0
    """How many messages the group had ordered when this one was applied, with it.  Within a group only."""
    token: int = 0
    """A fencing token: greater than that of every earlier command of the group, and at least `stamp`, so that a group
    that was lost and founded again does not hand out old tokens."""
    between_ms: int = 0
    """How much of the group's time so far passed from the last message of a view to the first of the next."""

    @property
    def time_ms(self) -> int:
        """Milliseconds since the epoch, from the stamp.  Replicated objects have no other clock."""
        return wall_ms(self.stamp)

    @property
    def steady_ms(self) -> int:
        """A clock for what must not end early: it runs like `time_ms` while a view lasts, and stands still from one to
        the next, where the group's time can leap: nodes that come back from their disks bring a clock that is up to
        seconds ahead, for they do not know what was stamped last."""
        return wall_ms(self.stamp) - self.between_ms


OUTSIDE = Context()
"""The context of a call that no replica makes, such as one in a unit test."""


class Kind(StrEnum):
    """Whether an operation is ordered and may change the state, or is answered by one replica and must not: once, or
    whenever there is something new."""

    COMMAND = "command"
    QUERY = "query"
    FEED = "feed"


class Mark(NamedTuple):
    """What a decorator was told."""

    kind: Kind
    name: str
    version: int
    raises: tuple[type[Exception], ...]
    atomic: bool
    when_full: bool = False


class CommandFailed(PhalanxError):
    """A command or query raised an exception of a type that it does not declare by `raises=`.  A command that raises
    has changed nothing.

    type_name: the name of the exception's class at the replica that answered.
    text: what it said there (for people: it may differ between replicas).
    """

    def __init__(self, type_name: str, text: str) -> None:
        super().__init__(f"{type_name}: {text}")
        self.type_name = type_name
        self.text = text


class Version(NamedTuple):
    """Which version of its object a class is, and the class that was the version before, if it is still here."""

    number: int
    replaces: type[Any] | None


def version(number: int, *, replaces: type[Any] | None = None) -> Callable[[C], C]:
    """Mark a class as that version of a replicated object.  A class without the mark is version 1.

    replaces: the class that was the version before, which groups run, and logs hold, that were not upgraded yet; see the
        module's text for how its state becomes one of the new class.  It can be left out once nothing needs it.

    Raises `ConfigurationError` if the numbers do not follow each other, or something is no class.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigurationError(f"@version: the number must be at least 1, not {number!r}")
    if replaces is not None and not isinstance(replaces, type):
        raise ConfigurationError(f"@version: replaces must be a class, not {replaces!r}")
    if replaces is not None and version_of(replaces).number != number - 1:
        former = version_of(replaces).number
        raise ConfigurationError(f"@version: version {number} replaces version {number - 1}, not {former}")

    def mark(cls: C) -> C:
        if not isinstance(cls, type):
            raise ConfigurationError(f"@version goes on a class, not on {cls!r}")
        setattr(cls, _VERSION, Version(number, replaces))
        return cls

    return mark


def version_of(cls: type[Any]) -> Version:
    """What `version` said of that class; what it said of a base class counts for nothing."""
    found = vars(cls).get(_VERSION)
    return found if isinstance(found, Version) else Version(1, None)


@overload
def command(function: F, /) -> F: ...
@overload
def command(
    *,
    name: str = "",
    version: int = 1,
    raises: tuple[type[Exception], ...] = (),
    atomic: bool = False,
    when_full: bool = False,
) -> Callable[[F], F]: ...


def command(
    function: F | None = None,
    /,
    *,
    name: str = "",
    version: int = 1,
    raises: tuple[type[Exception], ...] = (),
    atomic: bool = False,
    when_full: bool = False,
) -> F | Callable[[F], F]:
    """Mark a method as a command: ordered, executed once by every replica, allowed to change the state.

    name, version: what callers ask for (default: the method's name, 1).  Give a method whose meaning or types change a
        new version; the old method can stay beside it for callers of yesterday.
    raises: exceptions that callers get as they are, made anew from their `args`, which must be plain values.  Standard
        exceptions such as `ValueError` need no mention.  All others arrive as `CommandFailed`.
    atomic: a promise that the method has changed nothing whenever it raises, because it checks before it changes.
        Without it the replica must be able to undo: it keeps a copy of the state and the commands since.
    when_full: run it even while a durable group takes no other commands because disks have no room (`StorageFull`): it is
        short, and frees space, or keeps what is there from being lost.

    Raises `ConfigurationError` if an argument makes no sense.
    """
    mark = _marker(Kind.COMMAND, name, version, raises, atomic, when_full=when_full)
    return mark if function is None else mark(function)


@overload
def query(function: F, /) -> F: ...
@overload
def query(*, name: str = "", version: int = 1, raises: tuple[type[Exception], ...] = ()) -> Callable[[F], F]: ...


def query(
    function: F | None = None, /, *, name: str = "", version: int = 1, raises: tuple[type[Exception], ...] = ()
) -> F | Callable[[F], F]:
    """Mark a method as a query: answered by one replica, linearizably or stale as the caller asks.  It must not change
    the state.  Parameters as for `command`."""
    mark = _marker(Kind.QUERY, name, version, raises, atomic=True)
    return mark if function is None else mark(function)


def feed(*, name: str = "", version: int = 1, raises: tuple[type[Exception], ...] = ()) -> Callable[[F], F]:
    """Mark a method as a feed: see the module's text.  Parameters as for `command`."""
    return _marker(Kind.FEED, name, version, raises, atomic=True)


def _marker(
    kind: Kind,
    name: str,
    version: int,
    raises: tuple[type[Exception], ...],
    atomic: bool,
    *,
    when_full: bool = False,
) -> Callable[[F], F]:
    check_mark(kind, name, version, raises)
    for flag, given in (("atomic", atomic), ("when_full", when_full)):
        if not isinstance(given, bool):
            raise ConfigurationError(f"@{kind}: {flag} must be True or False, not {given!r}")

    def mark(function: F) -> F:
        if not callable(function) or not hasattr(function, "__code__"):
            raise ConfigurationError(f"@{kind} goes on a plain method, not on {function!r}")
        setattr(function, MARK, Mark(kind, name or function.__name__, version, tuple(raises), atomic, when_full))
        return function

    return mark


def check_mark(kind: str, name: object, version: object, raises: object) -> None:
    """What decorators of methods are told in common.  Raises `ConfigurationError` if it makes no sense."""
    if not isinstance(name, str) or not name.isprintable():
        raise ConfigurationError(f"@{kind}: name must be a str that can be printed, not {name!r}")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigurationError(f"@{kind}: version must be at least 1, not {version!r}")
    listed = isinstance(raises, tuple | list) and all(isinstance(e, type) and issubclass(e, Exception) for e in raises)
    if not listed:
        raise ConfigurationError(f"@{kind}: raises must list classes of exceptions, not {raises!r}")
