"""What clients call in a simulation: drawn from the types of the methods, or by a function of the user's.

Values are drawn from small pools, so that calls meet: two clients that never name the same key test nothing.
"""

import datetime
import decimal
import math
import random
import uuid
from collections.abc import Callable
from typing import Any, Concatenate, NamedTuple, ParamSpec

import msgspec
from msgspec import inspect

from phalanx.errors import ConfigurationError
from phalanx.model.replicated import Kind
from phalanx.replication.objects import Invocation, ObjectType, Operation

P = ParamSpec("P")

TEXTS = ("a", "b", "c", "d", "e", "f", "g", "", "é")
INTEGERS = (0, 1, 2, 3, 4, 5, 7, 10, 100, -1, -10)
FLOATS = (0.0, 0.5, 1.0, 1.5, -0.25, 100.0)
"""Sums of these are exact, in whatever order."""

SMALLEST = 1 / 1024
"""How far drawn floats stay from a bound that excludes itself."""

STEPS_MAX = 10
"""How many numbers are drawn of a range that has a bound, from its lower end on."""

ITEMS_MAX = 3
"""Items of a drawn list, set or dictionary, unless its type asks for more."""

DEPTH_MAX = 4
"""Types that contain themselves end here."""


class Call(NamedTuple):
    """One call that a client makes.  Made by `call`."""

    method: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


Draw = Callable[[random.Random], Call]
"""Draws a client's next call.  It must take all its chance from the generator, so that a seed replays the run."""


def call(method: Callable[Concatenate[Any, P], Any], /, *args: P.args, **kwargs: P.kwargs) -> Call:
    """A call of a method marked `@command` or `@query`, for a function that draws calls.

    call(Bank.deposit, "ann", 3)        # checked by a type checker as Bank().deposit("ann", 3) is
    """
    return Call(method, args, kwargs)


def drawing(kind: ObjectType[Any], draw: Draw | None) -> Callable[[random.Random], Invocation[Any]]:
    """How to draw invocations.  Raises `ConfigurationError` if a type cannot be drawn and no function is given."""
    if draw is not None:
        chosen = draw

        def invocation(rng: random.Random) -> Invocation[Any]:
            drawn = chosen(rng)
            if not isinstance(drawn, Call):
                raise ConfigurationError(f"calls= must return phalanx.testing.call(...), not {drawn!r}")
            invoked = kind.invoke(drawn.method, *drawn.args, **drawn.kwargs)
            try:
                invoked.operation.decode(invoked.arguments)
            except msgspec.DecodeError as error:
                raise ConfigurationError(f"calls= drew what does not fit: {invoked.operation.fault(error)}") from None
            return invoked

        return invocation
    operations = [each for _, each in sorted(kind.operations.items()) if each.kind is not Kind.FEED]
    weights = [1 if each.kind is Kind.QUERY else 2 for each in operations]
    types = {each.id: [(name, inspect.type_info(type_)) for name, type_ in each.parameters] for each in operations}
    for each in operations:
        arguments_of(each, types[each.id], random.Random(each.id))  # fails now rather than in the middle of a run

    def from_types(rng: random.Random) -> Invocation[Any]:
        [operation] = rng.choices(operations, weights)
        return Invocation(operation, arguments_of(operation, types[operation.id], rng))

    return from_types


def arguments_of(operation: Operation, types: list[tuple[str, inspect.Type]], rng: random.Random) -> bytes:
    """Drawn arguments, as they travel."""
    arguments = {}
    for name, info in types:
        try:
            arguments[name] = value_of(info, rng)
        except Undrawable as error:
            raise ConfigurationError(
                f"{operation.where}, parameter {name!r}: no value of {error} can be drawn; give calls="
            ) from None
    return operation.encode((), arguments)


class Undrawable(Exception):
    """There is no way to draw a value of the type that the text names."""


_PLAIN: dict[type[inspect.Type], Callable[[random.Random], Any]] = {
    inspect.AnyType: lambda rng: rng.choice((None, True, *INTEGERS[:3], *TEXTS[:3])),
    inspect.NoneType: lambda _: None,
    inspect.BoolType: lambda rng: rng.random() < 0.5,
    inspect.DateTimeType: lambda rng: datetime.datetime(2024, 2, rng.randint(1, 29), 12, tzinfo=datetime.UTC),
    inspect.DateType: lambda rng: datetime.date(2024, 2, rng.randint(1, 29)),
    inspect.TimeType: lambda rng: datetime.time(rng.randrange(24)),
    inspect.TimeDeltaType: lambda rng: datetime.timedelta(seconds=rng.choice((0, 1, 60))),
    inspect.UUIDType: lambda rng: uuid.UUID(int=rng.randrange(4)),
    inspect.DecimalType: lambda rng: decimal.Decimal(rng.choice(("0", "1.50", "-2"))),
}


def value_of(info: inspect.Type, rng: random.Random, depth: int = 0) -> Any:
    """A value of that type.  Raises `Undrawable`."""
    if (plain := _PLAIN.get(type(info))) is not None:
        return plain(rng)
    match info:
        case inspect.Metadata(type=inner):
            return value_of(inner, rng, depth)
        case inspect.IntType() | inspect.FloatType():
            return _number(info, rng)
        case inspect.StrType(pattern=None, min_length=least, max_length=most):
            return _sized(rng.choice(TEXTS), least, most, "x")
        case inspect.BytesType(min_length=least, max_length=most):
            return _sized(rng.choice(TEXTS), least, most, "x").encode()[:most]
        case inspect.EnumType(cls=cls):
            return rng.choice(list(cls))
        case inspect.LiteralType(values=values):
            return rng.choice(values)
        case inspect.UnionType(types=types):
            small = [each for each in types if isinstance(each, inspect.NoneType)]
            return value_of(rng.choice(small if small and depth >= DEPTH_MAX else types), rng, depth)
        case _:
            return _composed(info, rng, depth + 1)


def _composed(info: inspect.Type, rng: random.Random, depth: int) -> Any:
    match info:
        case inspect.CollectionType(item_type=item, min_length=least, max_length=most):
            kinds = {inspect.SetType: set, inspect.FrozenSetType: frozenset, inspect.VarTupleType: tuple}
            return kinds.get(type(info), list)(
                value_of(item, rng, depth) for _ in range(_count(rng, depth, least, most))
            )
        case inspect.TupleType(item_types=items):
            return tuple(value_of(item, rng, depth) for item in items)
        case inspect.DictType(key_type=key, value_type=value, min_length=least, max_length=most):
            count = _count(rng, depth, least, most)
            return {value_of(key, rng, depth): value_of(value, rng, depth) for _ in range(count)}
        case inspect.TypedDictType(fields=fields):
            return {each.name: value_of(each.type, rng, depth) for each in _given(fields, rng, depth)}
        case inspect.StructType() | inspect.DataclassType() | inspect.NamedTupleType():
            given = {each.name: value_of(each.type, rng, depth) for each in _given(info.fields, rng, depth)}
            return info.cls(**given)
    raise Undrawable(type(info).__name__.removesuffix("Type").lower())


def _given(fields: tuple[inspect.Field, ...], rng: random.Random, depth: int) -> list[inspect.Field]:
    """Fields that may be left out are, now and then; far inside always."""
    if depth > 2 * DEPTH_MAX:
        raise Undrawable("a type that must contain itself")
    return [each for each in fields if each.required or (depth < DEPTH_MAX and rng.random() < 0.7)]


def _count(rng: random.Random, depth: int, least: int | None, most: int | None) -> int:
    low = least or 0
    high = max(low, ITEMS_MAX if depth < DEPTH_MAX else 0)
    return rng.randint(low, high if most is None else min(high, most))


def _sized(text: str, least: int | None, most: int | None, filler: str) -> str:
    return text.ljust(least or 0, filler)[:most]


def _number(info: inspect.IntType | inspect.FloatType, rng: random.Random) -> Any:
    whole = isinstance(info, inspect.IntType)
    unit = 1 if whole else SMALLEST
    least = info.ge if info.ge is not None else info.gt + unit if info.gt is not None else None
    most = info.le if info.le is not None else info.lt - unit if info.lt is not None else None
    if least is None and most is None and info.multiple_of is None:
        return rng.choice(INTEGERS if whole else FLOATS)
    step = info.multiple_of or unit
    if least is None:
        least = 0 if most is None else most - STEPS_MAX * step
    first = math.ceil(least / step)
    last = first + STEPS_MAX if most is None else min(first + STEPS_MAX, math.floor(most / step))
    if first > last:
        raise Undrawable("a number with these bounds")
    return rng.randint(first, last) * step
