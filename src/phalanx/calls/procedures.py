"""What callers and hosts need to know of a class whose methods are called in groups (`model.procedures`).

Everything is decided when the class is described; errors name the class, the method and the parameter.
"""

import inspect
from collections.abc import Callable, Iterable
from types import GenericAlias
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_type_hints

import msgspec

from phalanx.errors import ConfigurationError, TooLarge
from phalanx.model.procedures import PROCEDURE, ProcedureMark
from phalanx.model.replicated import CommandFailed
from phalanx.replication import contract
from phalanx.replication.outcome import Outcome, Raised, Returned, exception_of, raised

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

RESULT_BYTES_MAX = 1 << 20
"""Of one result, encoded, and of what results are combined into: several of them travel in one frame."""

ARGUMENTS_BYTES_MAX = 1 << 20
"""Of one call, encoded: every host has it in memory until the call is settled."""

_ENCODER = msgspec.msgpack.Encoder()


class Procedure:
    """A marked method with its codecs."""

    def __init__(self, cls: type, function: Callable[..., Any], mark: ProcedureMark) -> None:
        self.where = f"{cls.__name__}.{function.__name__}"
        self.id = f"{mark.name}@{mark.version}"
        self.raises = mark.raises
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.combines = mark.combine is not None
        self._combine = mark.combine
        self._signature, hints = self._read(function)
        fields = [(name, hints[name]) for name in self._signature.parameters]
        spelled = [f"{name}: {contract.spell(kind, f'{self.where}, parameter {name!r}')}" for name, kind in fields]
        spelled.append(f"-> {contract.spell(hints['return'], f'{self.where}, result')}")
        self.spelled = f"{self.id} {' '.join(spelled)} {[each.__name__ for each in self.raises]} {self.combines}"
        self.types = contract.fingerprint(*spelled)
        """Fingerprint of the names and types of the arguments and the type of the result."""
        arguments: Any = GenericAlias(tuple, tuple(kind for _, kind in fields))
        self._arguments_decoder = msgspec.msgpack.Decoder(arguments)
        self._result_decoder = msgspec.msgpack.Decoder(hints["return"])

    def encode(self, *args: Any, **kwargs: Any) -> bytes:
        """Arguments as they travel.  Raises `TypeError` as a call of the method would, or if one has no encoding, and
        `TooLarge`."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as wrong:
            raise TypeError(f"{self.where}: {wrong}") from None
        bound.apply_defaults()
        try:
            data = _ENCODER.encode(tuple(bound.arguments.values()))
        except contract.UNENCODABLE as error:
            raise contract.not_encoded(error, self.where) from error
        if len(data) > ARGUMENTS_BYTES_MAX:
            raise TooLarge(f"{self.where}: {len(data)} bytes of arguments, the limit is {ARGUMENTS_BYTES_MAX}")
        return data

    def decode(self, arguments: bytes) -> dict[str, Any]:
        """Arguments for the method, by name.  Raises `msgspec.DecodeError`."""
        return dict(zip(self._signature.parameters, self._arguments_decoder.decode(arguments), strict=True))

    def outcome(self, result: Any) -> Outcome:
        """What the method returned, as it travels; what has no encoding, or is too large, as the exception for that."""
        try:
            data = _ENCODER.encode(result)
        except Exception as error:  # whatever the user's objects do when encoded
            return raised(TypeError(f"{self.where} returned {type(result).__name__}: {error}"))
        if len(data) > RESULT_BYTES_MAX:
            return raised(ValueError(f"{self.where} returned {len(data)} bytes, the limit is {RESULT_BYTES_MAX}"))
        return Returned(data)

    def result(self, outcome: Outcome) -> Any:
        """What the method returned; or raise what it raised, and `CommandFailed` if it returned what its annotation does
        not allow."""
        if isinstance(outcome, Raised):
            raise exception_of(outcome, self.raises)
        try:
            return self._result_decoder.decode(outcome.value)
        except msgspec.DecodeError as error:
            text = f"{self.where} returned what its annotation does not allow: {error}"
            raise CommandFailed(type(error).__name__, text) from error

    def fold(self, values: Iterable[bytes]) -> Outcome:
        """Results, at least one, combined into one; or what combining them raised."""
        assert self._combine is not None
        try:
            result, *rest = map(self._result_decoder.decode, values)
            for each in rest:
                result = self._combine(result, each)
        except (Exception, SystemExit) as error:  # whatever the user's function does
            return raised(error)
        return self.outcome(result)

    def _read(self, function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
        """The signature as callers see it, and the annotations."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"{self.where} must not be a generator: a procedure returns one result")
        try:
            hints = get_type_hints(function, include_extras=True)
        except Exception as error:  # an annotation in quotes is any expression
            raise ConfigurationError(f"{self.where}: an annotation cannot be resolved: {error}") from error
        parameters = list(inspect.signature(function).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise ConfigurationError(f"{self.where}: parameter {parameter.name!r} must be passable by its name")
            if parameter.name not in hints:
                raise ConfigurationError(f"{self.where}: parameter {parameter.name!r} needs a type annotation")
        if "return" not in hints:
            raise ConfigurationError(f"{self.where}: the result needs a type annotation")
        return inspect.Signature(parameters), hints


class ServiceType(Generic[T]):
    """Everything that hosts and callers need to know of a class.  Raises `ConfigurationError`."""

    def __init__(self, cls: type[T]) -> None:
        self.name = cls.__name__
        self.procedures: dict[str, Procedure] = {}
        """By id, "name@version"."""
        self._by_function: dict[Callable[..., Any], Procedure] = {}
        for name in sorted(dir(cls)):
            function = inspect.getattr_static(cls, name, None)
            mark = getattr(function, PROCEDURE, None)
            if not isinstance(mark, ProcedureMark) or not callable(function):
                continue
            procedure = Procedure(cls, function, mark)
            if procedure.id in self.procedures:
                other = self.procedures[procedure.id].where
                raise ConfigurationError(f"{procedure.where}: {procedure.id} is also {other}")
            self.procedures[procedure.id] = procedure
            self._by_function[function] = procedure
        if not self.procedures:
            raise ConfigurationError(f"{self.name} has no method marked @procedure")
        spelled = sorted(procedure.spelled for procedure in self.procedures.values())
        self.contract = contract.contract("troupe/1", "troupe", *spelled)
        """Fingerprint of names, versions and types, for `GroupSpec.contract`."""

    def procedure(self, method: Callable[Concatenate[T, P], Any]) -> Procedure:
        """The procedure that a marked method is.  Raises `ConfigurationError` for any other function."""
        return contract.marked(method, self._by_function, f"{self.name} marked @procedure")

    def find(self, operation: str, types: int) -> Procedure | None:
        """What was called, if this class has it with those types."""
        procedure = self.procedures.get(operation)
        return procedure if procedure is not None and procedure.types == types else None
