"""How an operation ended at a replica, as a value that travels: a result, or an exception.

Exceptions are rebuilt from their class's name and their `args`, for the classes that the operation declares and for the
standard ones listed here.  Nothing else is ever instantiated from what came over a wire.
"""

from typing import Any, final

import msgspec

from phalanx.model.replicated import CommandFailed

TEXT_CHARACTERS_MAX = 1_000
"""The text of an exception is cut at this length: it is kept in the session table of every replica."""

ARGS_BYTES_MAX = 4 << 10
"""The encoded `args` of an exception, for the same reason: beyond it only its text travels.  With the text it is
within what any exception counts for in its session (`RAISED_BYTES`)."""

STANDARD: dict[str, type[Exception]] = {
    cls.__name__: cls
    for cls in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        LookupError,
        NotImplementedError,
        OverflowError,
        PermissionError,
        RuntimeError,
        TimeoutError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    )
}
"""Exceptions that every caller knows without a declaration."""


@final
class Returned(msgspec.Struct, frozen=True, array_like=True, tag="=", gc=False):
    """The method returned: `value` is its encoded result."""

    value: bytes


@final
class Raised(msgspec.Struct, frozen=True, array_like=True, tag="!", gc=False):
    """The method raised and changed nothing.  `args` are the exception's, encoded, or empty if they are not plain."""

    type_name: str
    args: bytes
    text: str


Outcome = Returned | Raised


def raised(error: BaseException) -> Raised:
    """The exception as a value."""
    try:
        args = msgspec.msgpack.encode(error.args)
    except Exception:  # whatever the user's objects do when encoded: the exception travels by its text then
        args = b""
    return Raised(type(error).__name__, args if len(args) <= ARGS_BYTES_MAX else b"", text_of(error))


def text_of(error: BaseException) -> str:
    """What the exception says, as it can travel: lone surrogates (of a file name, or of what JSON escapes) have no
    encoding.  Making that text is code of its class, and may raise as well."""
    try:
        return str(error)[:TEXT_CHARACTERS_MAX].encode(errors="backslashreplace").decode()
    except (Exception, SystemExit) as another:
        return f"(its text cannot be told: {type(another).__name__})"


def is_stray(error: BaseException) -> bool:
    """It is meant for whoever runs the caller, such as `asyncio.CancelledError`, and a method that raises it would end
    that; but a user's own interrupt may."""
    return not isinstance(error, Exception | SystemExit | KeyboardInterrupt)


def refuse_stray(error: BaseException, where: str) -> None:
    """Raise RuntimeError in its place if it is stray."""
    if is_stray(error):
        raise RuntimeError(f"{where} raised {type(error).__name__}") from error


def exception_of(outcome: Raised, declared: tuple[type[Exception], ...]) -> Exception:
    """The exception to raise at the caller."""
    by_name = STANDARD | {cls.__name__: cls for cls in declared}
    cls = by_name.get(outcome.type_name)
    if cls is not None and outcome.args:
        try:
            args: list[Any] = msgspec.msgpack.decode(outcome.args, type=list[Any])
            return cls(*args)
        except Exception:  # a constructor that does not take its own `args`
            pass
    return CommandFailed(outcome.type_name, outcome.text)
