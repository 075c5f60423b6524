"""A plain class becomes an object type: its operations with stable names, versions and codecs, its state, its contract.

`describe(Counter)` reads the marks that `@command` and `@query` left (model/replicated.py) and fails at once, naming
class, method and parameter, if something cannot be encoded.  Callers and replicas both work from the description:

    counter = describe(Counter)
    invocation = counter.invoke(Counter.add, 3)     # checked by mypy just as Counter().add(3) is
    ...                                             # invocation.operation.id, .types and .arguments travel
    invocation.result(outcome)                      # an int; or raises what the command raised

Versions of a class cannot misread each other: hosts of a group compare the contract of the whole class, and callers send
the fingerprint of the one operation that they call.  A class that replaces another one brings that with it, for groups
that still run it (`versions`).
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from types import GenericAlias
from typing import Any, Concatenate, Final, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast, get_type_hints

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.model.replicated import MARK, CommandFailed, Context, Kind, Mark, version_of
from phalanx.replication import contract
from phalanx.replication.conversion import Conversion
from phalanx.replication.outcome import Outcome, Returned, exception_of, refuse_stray, text_of
from phalanx.replication.positions import Fed, position_of
from phalanx.replication.state import StateCodec

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# Final: ARCHITECTURE, decision 58.
_encode: Final = msgspec.msgpack.Encoder().encode
_RETURNED: Final = Returned

RESULT_BYTES_MAX: Final = 7 << 20
"""An encoded result: the answer travels in one frame (`wire.frame.BODY_BYTES_MAX`), with room to spare, and every host
keeps what a command has answered until its client has it."""

CONTRACTS = "object/2"
"""What the contract of an object begins with; the version of its class follows."""

_PLACE = re.compile(r" - at `\$\[(\d+)\](.*)`$")
"""Where msgspec says that a tuple of arguments is at fault."""


class UnencodableResult(Exception):
    """A method returned what has no encoding, against its annotation.  Unlike after any other exception of a command,
    its changes stand: it did return."""


class OversizedResult(UnencodableResult):
    """It returned more than `RESULT_BYTES_MAX`."""


Watcher: TypeAlias = "Callable[[Operation | TickHook, Any, tuple[Any, ...], Context], Returned]"
"""Is given what `run` is."""


FeedWatcher: TypeAlias = "Callable[[Operation, Any, tuple[Any, ...], int], Fed]"
"""Is given what `feed` is."""


class Operation:
    """A command, query or feed with its codecs."""

    def __init__(self, cls: type, function: Callable[..., Any], mark: Mark) -> None:
        self.where = f"{cls.__name__}.{function.__name__}"
        self.kind = mark.kind
        self.version = version_of(cls).number
        """Of the class."""
        self.id = f"{mark.name}@{mark.version}"
        self.raises = mark.raises
        self.atomic = mark.atomic
        self.when_full = mark.when_full
        self.function = function
        self.effect = " (its changes stand)" if mark.kind is Kind.COMMAND else ""
        """Of a call whose result cannot be told."""
        self._context = ""
        self._by_position = 0
        """So many of the arguments come first, and may be passed without their names, which is faster."""
        self._feeds = mark.kind is Kind.FEED
        self._signature, hints = self._read(function)
        self._names = tuple(self._signature.parameters)
        self._defaults = tuple(each.default for each in self._signature.parameters.values())
        self._required = max(
            (n for n, each in enumerate(self._defaults, 1) if each is inspect.Parameter.empty), default=0
        )
        """So many of them cannot be left to their defaults."""
        fields = [(name, hints[name]) for name in self._names]
        self.parameters = tuple(fields)
        """Names and types of the arguments, as callers see them."""
        spelled = [f"{name}: {contract.spell(kind, f'{self.where}, parameter {name!r}')}" for name, kind in fields]
        spelled.append(f"-> {contract.spell(hints['return'], f'{self.where}, result')}")
        self.spelled = f"{self.kind} {self.id} {' '.join(spelled)} {[each.__name__ for each in self.raises]}"
        self.types = contract.fingerprint(*spelled)
        """Fingerprint of the names and types of the arguments and the type of the result."""
        self.watcher: Watcher | None = None
        """Runs it instead, by `perform`, and looks on; for tests of users' classes."""
        self.feed_watcher: FeedWatcher | None = None
        """The same for a feed, by `perform_feed`."""
        arguments: Any = GenericAlias(tuple, tuple(hint for _, hint in fields))
        self._arguments_decoder = msgspec.msgpack.Decoder(arguments)
        self._result_decoder = msgspec.msgpack.Decoder(hints["return"])

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Arguments as they travel.  Raises `TypeError` as a call of the method would."""
        if kwargs or not self._required <= len(args) <= self._by_position:
            try:
                bound = self._signature.bind(*args, **kwargs)
            except TypeError as wrong:
                raise TypeError(f"{self.where}: {wrong}") from None
            bound.apply_defaults()  # the caller's defaults hold, not those of whatever code a replica runs
            args = tuple(bound.arguments.values())
        else:
            args += self._defaults[len(args) :]
        try:
            return _encode(args)
        except contract.UNENCODABLE as error:
            raise contract.not_encoded(error, self.where) from error

    def fault(self, error: BaseException) -> str:
        """What `decode` has raised, in the words of the method."""
        place = _PLACE.search(text := text_of(error))
        if place is None or int(place[1]) >= len(self._names):
            return f"{self.where}: {text}"
        return f"{self.where}, parameter {self._names[int(place[1])]!r}{place[2]}: {text[: place.start()]}"

    def decode(self, arguments: bytes) -> tuple[Any, ...]:
        """Arguments for `run`, in the order of `parameters`.  Raises `msgspec.DecodeError` if they do not fit
        (`ValidationError` is one), and what the classes of the arguments raise."""
        values: tuple[Any, ...] = self._arguments_decoder.decode(arguments)
        return values

    def feed(self, instance: Any, arguments: tuple[Any, ...], position: int) -> Fed:
        """Call a feed from that position on.  Raises whatever it raises, and `TypeError`, `ValueError` or
        `OversizedResult` if it returned what no feed may."""
        if self.feed_watcher is not None:
            return self.feed_watcher(self, instance, arguments, position)
        return self.perform_feed(instance, arguments, position)

    def perform_feed(self, instance: Any, arguments: tuple[Any, ...], position: int) -> Fed:
        """As `feed`, unwatched."""
        try:
            fed = self.function(instance, position, **dict(zip(self._names, arguments, strict=True)))
        except BaseException as error:
            refuse_stray(error, self.where)
            raise
        reached, more = position_of(fed.position), bool(fed.more)
        if more and reached <= position:
            raise ValueError(f"{self.where} returned that there is more, and does not get beyond position {position}")
        data = _encode(fed) if fed.events else b""
        if len(data) > RESULT_BYTES_MAX:
            raise OversizedResult(f"{self.where} returned {len(data)} bytes, the limit is {RESULT_BYTES_MAX}")
        return Fed(reached, more, data)

    def read(self, data: bytes) -> Any:
        """Decode what a feed returned.  Raises `msgspec.DecodeError`."""
        return self._result_decoder.decode(data)

    def run(self, instance: Any, arguments: tuple[Any, ...], context: Context) -> Returned:
        """Call the method.  Raises whatever it raises, and `UnencodableResult`."""
        if self.watcher is not None:
            return self.watcher(self, instance, arguments, context)
        return self.perform(instance, arguments, context)

    def perform(self, instance: Any, arguments: tuple[Any, ...], context: Context) -> Returned:
        """As `run`, unwatched.  The context is added to the arguments."""
        named: dict[str, Any] = {self._context: context} if self._context else {}
        if self._by_position < len(arguments):
            named.update(zip(self._names[self._by_position :], arguments[self._by_position :], strict=True))
            arguments = arguments[: self._by_position]
        try:
            result = self.function(instance, *arguments, **named)
        except BaseException as stray:
            refuse_stray(stray, self.where)
            raise
        try:
            data = _encode(result)
        except Exception as error:
            raise UnencodableResult(f"{self.where} returned {type(result).__name__}{self.effect}: {error}") from error
        if len(data) > RESULT_BYTES_MAX:
            text = f"{self.where} returned {len(data)} bytes, the limit is {RESULT_BYTES_MAX}: have it return a part"
            raise OversizedResult(text + self.effect)
        return _RETURNED(data)

    def result(self, outcome: Outcome) -> Any:
        """What the method returned; or raise what it raised, and `msgspec.DecodeError` if it returned what its annotation
        does not allow."""
        if isinstance(outcome, Returned):
            return self._result_decoder.decode(outcome.value)
        raise exception_of(outcome, self.raises)

    def _read(self, function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
        """The signature as callers see it (without self and context), and the annotations."""
        generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        if generates or inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"{self.where} must be a plain method, neither async nor a generator")
        try:
            hints = get_type_hints(function, include_extras=True)
        except Exception as error:  # an annotation in quotes is any expression
            raise ConfigurationError(f"{self.where}: an annotation cannot be resolved: {error}") from error
        parameters = []
        follows = False  # one that must be passed by its name, or the context
        everything = list(inspect.signature(function).parameters.values())
        if self._feeds:
            kinds = get_type_hints(function)
            keys = [kinds.get("start"), kinds.get("end")]
            if [p.name for p in everything[1:4]] != ["position", "start", "end"] or keys != [bytes, bytes | None]:
                text = "a feed's parameters begin with position, start: bytes and end: bytes | None"
                raise ConfigurationError(f"{self.where}: {text}")
        for parameter in everything[2 if self._feeds else 1 :]:
            name = parameter.name
            if hints.get(name) is Context:
                if parameter.default is parameter.empty or self._context:
                    raise ConfigurationError(f"{self.where}: one parameter may be a Context, with the default OUTSIDE")
                self._context = name
                follows = True
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise ConfigurationError(f"{self.where}: parameter {name!r} must be passable by its name")
            if name not in hints:
                raise ConfigurationError(f"{self.where}: parameter {name!r} needs a type annotation")
            parameters.append(parameter)
            follows |= parameter.kind is parameter.KEYWORD_ONLY
            self._by_position += not follows
        if "return" not in hints:
            raise ConfigurationError(f"{self.where}: the result needs a type annotation")
        return inspect.Signature(parameters), hints


class TickHook:
    """A class's `tick` or `recovered` in the shape of an operation, for whoever runs operations again."""

    def __init__(self, cls: type, name: str) -> None:
        self.where = f"{cls.__name__}.{name}"
        self.name = name
        self.watcher: Watcher | None = None
        """As `Operation.watcher`."""

    def decode(self, arguments: bytes) -> tuple[Any, ...]:
        """It has no arguments."""
        assert not arguments
        return ()

    def run(self, instance: Any, arguments: tuple[Any, ...], context: Context) -> Returned:
        """Raises whatever the hook raises."""
        if self.watcher is not None:
            return self.watcher(self, instance, arguments, context)
        return self.perform(instance, arguments, context)

    def perform(self, instance: Any, arguments: tuple[Any, ...], context: Context) -> Returned:
        """As `run`, unwatched."""
        try:
            getattr(instance, self.name)(context, *arguments)
        except BaseException as error:
            refuse_stray(error, self.where)
            raise
        return Returned(b"")


class Invocation(NamedTuple, Generic[R_co]):
    """A call of an operation, ready to travel."""

    operation: Operation
    arguments: bytes

    def result(self, outcome: Outcome) -> R_co:
        """What the method returned; or raise what it raised, and `CommandFailed` if it returned what its annotation does
        not allow."""
        try:
            return cast(R_co, self.operation.result(outcome))
        except msgspec.DecodeError as error:
            text = f"{self.operation.where} returned what its annotation does not allow{self.operation.effect}: {error}"
            raise CommandFailed(type(error).__name__, text) from error


class ObjectType(Generic[T]):
    """Everything that replicas and callers need to know of a class.  Made by `describe`."""

    def __init__(self, cls: type[T]) -> None:
        self.cls = cls
        self.name = cls.__name__
        self.operations: dict[str, Operation] = {}
        """By id, "name@version"."""
        self._by_function: dict[Callable[..., Any], Operation] = {}
        for function, mark in _marked(cls):
            operation = Operation(cls, function, mark)
            if operation.id in self.operations:
                other = self.operations[operation.id].where
                raise ConfigurationError(f"{operation.where}: {operation.id} is also {other}")
            self.operations[operation.id] = operation
            self._by_function[function] = operation
        if not self.operations:
            raise ConfigurationError(f"{self.name} has no method marked @command or @query")
        self.state: StateCodec[T] = StateCodec(cls)
        self.state.prove()
        self.tick = _tick_of(cls)
        """How to let time pass for an instance that has a `due_ms`; None: the class has no such hooks."""
        self.recovered = TickHook(cls, "recovered") if callable(getattr(cls, "recovered", None)) else None
        """How to tell an instance that something may be lost; None: the class has no such hook."""
        _check_feeds(cls, self.operations.values())
        self.version, replaced = version_of(cls)
        self.contract = contract.contract(
            f"{CONTRACTS}:{self.version}",
            f"state {self.state.spelled}{' ticks' if self.tick else ''}",
            *sorted(operation.spelled for operation in self.operations.values()),
        )
        """The version, and a fingerprint of names, versions and types, for `GroupSpec.contract`."""
        self.versions: dict[int, ObjectType[Any]] = {self.version: self}
        """All that there is code for: this one, and those before it that came with it."""
        self.conversion: Conversion | None = None
        """From the version before; None: it is not here."""
        if replaced is not None:
            former = ObjectType(replaced)
            self.versions = {**former.versions, **self.versions}
            self.conversion = Conversion(cls, self.state, replaced, former.state)
        self.undoes = any(o.kind is Kind.COMMAND and not o.atomic for o in self.operations.values())
        """Whether some command may leave a half-made change behind when it raises."""

    def converted(self, instance: Any, since: int) -> T:
        """What becomes of the state of an instance of that version, in a new one.  Raises as `Conversion.convert`."""
        for number in range(since + 1, self.version + 1):
            conversion = self.versions[number].conversion
            assert conversion is not None, "versions follow each other"
            instance = conversion.convert(instance)
        return cast(T, instance)

    def operation(self, method: Callable[..., Any]) -> Operation:
        """The operation that a marked method is.  Raises `ConfigurationError` for any other function."""
        return contract.marked(method, self._by_function, f"{self.name} marked @command or @query")

    def invoke(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> Invocation[R]:
        """A call of the method with these arguments.  Raises `TypeError` if they do not fit its signature, or cannot be
        encoded, and `ConfigurationError` if it is not marked."""
        operation = self.operation(method)
        return Invocation(operation, operation.encode(args, kwargs))


def describe(cls: type[T]) -> ObjectType[T]:
    """Make an object type from a class.  Raises `ConfigurationError` naming the class, the method and the parameter if
    something about it cannot be replicated."""
    return ObjectType(cls)


def _check_feeds(cls: type, operations: Iterable[Operation]) -> None:
    feeds = [operation.where for operation in operations if operation.kind is Kind.FEED]
    for hook in ("position", "touched"):
        if feeds and not callable(getattr(cls, hook, None)):
            raise ConfigurationError(f"{feeds[0]} is a feed, so {cls.__name__} needs a method {hook}()")


def _tick_of(cls: type) -> TickHook | None:
    hooks = [hook for hook in ("due_ms", "tick") if callable(getattr(cls, hook, None))]
    if len(hooks) == 1:
        raise ConfigurationError(f"{cls.__name__} has {hooks[0]}() but not its counterpart")
    return TickHook(cls, "tick") if hooks else None


def _marked(cls: type) -> Iterator[tuple[Callable[..., Any], Mark]]:
    for name in sorted(dir(cls)):
        function = inspect.getattr_static(cls, name, None)
        if isinstance(function, (staticmethod, classmethod)):
            if hasattr(function.__func__, MARK):
                raise ConfigurationError(f"{cls.__name__}.{name} must be a plain method to be a command or query")
            continue
        mark = getattr(function, MARK, None)
        if isinstance(mark, Mark) and callable(function):
            yield function, mark
