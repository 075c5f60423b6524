"""Group calls on asyncio: a procedure that is called once and executed by every host of a troupe."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

import msgspec

from phalanx.api.arguments import class_of, name_of, number_of, seconds_of
from phalanx.api.groups import Inbox
from phalanx.calls.procedures import Procedure, ServiceType
from phalanx.calls.requests import (
    Abandoned,
    CallEnded,
    CallTroupe,
    CancelCall,
    Execute,
    Executed,
    Finish,
    Rule,
    Want,
)
from phalanx.calls.serving import FANOUT_MAX
from phalanx.errors import Closed, ConfigurationError, NoMajority, OutcomeUnknown, RepliesMissing, Unavailable
from phalanx.group.ranges import COUNT_MAX
from phalanx.model.clock import SECOND
from phalanx.model.replicated import CommandFailed
from phalanx.replication.outcome import Outcome, Raised, Returned, exception_of, is_stray, raised
from phalanx.runtime.clock import system_clock

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

TIMEOUT_S = 10.0
"""How long a call may take if nothing is said: several view changes."""

ALL = Want()

RUNNING_MAX = 1000
"""Procedures that are `async` and run at one host at a time; beyond it a call raises at this host."""

FANOUT = 8
"""Hosts below one in the tree of `Troupe.combined`."""


class Replies(NamedTuple, Generic[R]):
    """The answers to a group call, by the names of the hosts.

    values: what the procedure returned.  errors: what it raised.  hosts: how many it was delivered to; 0 if the answers
    that were asked for came before that was known.
    """

    values: dict[str, R]
    errors: dict[str, Exception]
    hosts: int

    def __bool__(self) -> bool:
        return bool(self.values or self.errors)


class Troupe(Generic[T]):
    """A handle to the hosts of a troupe.  Made by `Process.troupe`; the calling process need not be one of them.

        replies = await process.troupe(Sensor).call(Sensor.temperature, "attic")

    A call comes to all hosts or none, and each executes it once, however often it is sent and whoever fails: in the order
    of the troupe's group, which is total unless the troupe was founded otherwise.  By default the answers of all hosts
    are waited for; a host that fails is not waited for once it is out of the view.
    """

    def __init__(
        self,
        caller: "Troupes",
        service: ServiceType[T],
        name: str,
        timeout_s: float = TIMEOUT_S,
        want: Want = ALL,
        joint: tuple[str, int] | None = None,
    ) -> None:
        self.name = name
        self._caller = caller
        self._service = service
        self._timeout_s = timeout_s
        self._want = want
        self._joint = joint

    def __repr__(self) -> str:
        return f"<phalanx.Troupe {self.name!r}>"

    # --- how to call

    def within(self, timeout_s: float) -> "Troupe[T]":
        """The same troupe, with another deadline for its calls, in seconds.  Hosts give up what takes longer.  Raises
        `TypeError` for what is no number, and `ConfigurationError` for infinity."""
        return self._with(timeout_s=seconds_of(timeout_s, "a deadline"))

    def some(self, count: int) -> "Troupe[T]":
        """The same troupe, whose calls end with so many answers, at least one."""
        return self._with(want=Want(Rule.SOME, number_of(count, "the number of answers that a call waits for", 1)))

    @property
    def majority(self) -> "Troupe[T]":
        """The same troupe, whose calls end with the answers of more than half of the hosts."""
        return self._with(want=Want(Rule.MAJORITY))

    def jointly(self, client: str, number: int) -> "Troupe[T]":
        """The same troupe, for one call that several processes make together, such as the members of a group that all
        come to the same point: those who give the same name and number make one call, which is executed once, and all
        of them are answered.  `number` grows by one from call to call of that name; only the latest 1,024 are known."""
        client = name_of(client, "the name of a joint call")
        return self._with(joint=(client, number_of(number, "the number of a joint call", 0, COUNT_MAX - 1)))

    def _with(
        self,
        timeout_s: float | None = None,
        want: Want | None = None,
        joint: tuple[str, int] | None = None,
    ) -> "Troupe[T]":
        return Troupe(
            self._caller,
            self._service,
            self.name,
            self._timeout_s if timeout_s is None else timeout_s,
            want or self._want,
            joint or self._joint,
        )

    # --- calls

    @overload
    async def call(
        self, method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> Replies[R]: ...
    @overload
    async def call(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> Replies[R]: ...
    async def call(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Replies[Any]:
        """Call a procedure, and return the answers.

        Raises `Unavailable` if no host was given it: it has not happened, and never will; `OutcomeUnknown` if a host was
        given it, and nothing was heard until the deadline; `RepliesMissing` if it was delivered to all hosts, and fewer
        answered than were asked for, by the deadline or because the others failed; `TypeError` for arguments that do not
        fit, or cannot be encoded, and `TooLarge`; and `Closed` once the process has left.
        """
        procedure, ended = await self._perform(method, self._want, 0, *args, **kwargs)
        return self._replies(procedure, ended)

    @overload
    async def first(
        self, method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def first(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def first(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a procedure, and return the first answer.  Raises what the procedure raised there, else as `call`."""
        procedure, ended = await self._perform(method, Want(Rule.SOME, 1), 0, *args, **kwargs)
        return procedure.result(ended.answers[0][1])

    @overload
    async def voted(
        self, method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def voted(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def voted(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a procedure, and return what more than half of the hosts returned, alike to the byte.  It masks hosts that
        answer wrongly, as long as they are fewer than half.  Raises `NoMajority` if there is no such answer, else as
        `call`."""
        procedure, ended = await self._perform(method, Want(Rule.VOTED), 0, *args, **kwargs)
        returned = [outcome for _, outcome in ended.answers if isinstance(outcome, Returned)]
        return procedure.result(max(returned, key=returned.count))

    @overload
    async def combined(
        self, method: Callable[Concatenate[T, P], Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    async def combined(self, method: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def combined(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a procedure that has `combine=`, and return the results of all hosts combined into one.  They are combined
        on their way, up a tree of the hosts, so nobody is sent more than a few messages, however many hosts there are.

        Raises what the procedure, or combining, raised at some host; `ConfigurationError` if it has no `combine=`; else
        as `call`.
        """
        procedure = self._service.procedure(method)
        if not procedure.combines:
            raise ConfigurationError(f"{procedure.where} has no combine=")
        _, ended = await self._perform(method, Want(), FANOUT, *args, **kwargs)
        values = [ended.value] if ended.combined else []
        for _, outcome in ended.answers:
            if isinstance(outcome, Raised):
                raise exception_of(outcome, procedure.raises)
            values.append(outcome.value)
        return procedure.result(procedure.fold(values))

    async def _perform(
        self, method: Callable[..., Any], want: Want, fanout: int, *args: Any, **kwargs: Any
    ) -> tuple[Procedure, CallEnded]:
        procedure = self._service.procedure(method)
        arguments = procedure.encode(*args, **kwargs)
        deadline = system_clock().mono + int(self._timeout_s * SECOND)
        what = procedure.id, procedure.types, arguments, want, deadline, min(fanout, FANOUT_MAX), self._joint
        ended = await self._caller.perform(lambda token: CallTroupe(token, self.name, *what))
        if ended.finish is not Finish.DONE:
            raise self._error(procedure, ended)
        return procedure, ended

    def _replies(self, procedure: Procedure, ended: CallEnded) -> Replies[Any]:
        values: dict[str, Any] = {}
        errors: dict[str, Exception] = {}
        for name, outcome in ended.answers:
            if isinstance(outcome, Raised):
                errors[name] = exception_of(outcome, procedure.raises)
            else:
                try:
                    values[name] = procedure.result(outcome)
                except CommandFailed as error:
                    errors[name] = error
        return Replies(values, errors, ended.hosts)

    def _error(self, procedure: Procedure, ended: CallEnded) -> Exception:
        what = f"{procedure.where} of troupe {self.name}"
        match ended.finish:
            case Finish.NOT_HAPPENED:
                return Unavailable(f"{what} was not called: {ended.text}")
            case Finish.UNKNOWN:
                return OutcomeUnknown(f"{what} was given to a host, and nothing was heard of it: {ended.text}")
            case _:
                replies = self._replies(procedure, ended)
                got = f"{len(ended.answers) + ended.combined} of {ended.hosts or 'its'} hosts answered"
                text = f"{what} was delivered to all its hosts; {got}{': ' if ended.text else ''}{ended.text}"
                kind = NoMajority if ended.finish is Finish.DIVIDED else RepliesMissing
                return kind(text, replies.values, replies.errors)


class Troupes:
    """The group calls of one process.  For `Process`."""

    def __init__(self, machine: Inbox, look: Callable[[], None]) -> None:
        """look: raises what is wrong if nothing can be called any more, or not from here."""
        self._machine = machine
        self._look = look
        self._token = 0
        self._calls: dict[int, asyncio.Future[CallEnded]] = {}
        self._services: dict[str, tuple[Any, ServiceType[Any]]] = {}
        self._given_up: set[str] = set()
        self._described: dict[type[Any], ServiceType[Any]] = {}
        """Handles may be made for every request."""
        self._running: dict[int, asyncio.Task[None]] = {}
        self._closed = False

    def serve(self, name: str, instance: Any, service: ServiceType[Any]) -> None:
        """The instance executes the calls of the troupe of that name.  Raises `ConfigurationError` if another does."""
        if name in self._services and name not in self._given_up:
            raise ConfigurationError(f"this process hosts troupe {name!r} already")
        self._given_up.discard(name)
        self._services[name] = instance, service

    def release(self, name: str) -> None:
        """The troupe of that name is not to be hosted after all; what is delivered until it is left is executed."""
        self._given_up.add(name)

    def troupe(self, cls: type[T], name: str) -> Troupe[T]:
        """A handle to the troupe of that class and name; without one, it has the class's.  Raises `ConfigurationError`,
        and `TypeError` for what is no class or no name."""
        service = self._described.get(class_of(cls))
        if service is None:
            service = self._described[cls] = ServiceType(cls)
        return Troupe(self, service, name_of(name or service.name, "the name of a troupe"))

    async def perform(self, make: Callable[[int], CallTroupe]) -> CallEnded:
        """Make a call, and wait for its end."""
        self._look()
        if self._closed:
            raise Closed("the process was closed; nothing was called")
        self._token += 1
        token = self._token
        future = self._calls[token] = asyncio.get_running_loop().create_future()
        self._machine.submit(make(token))
        try:
            ended: CallEnded = await future
        except asyncio.CancelledError:
            self._machine.submit(CancelCall(token))
            raise
        finally:
            del self._calls[token]
        return ended

    def take(self, delivery: Execute | Abandoned | CallEnded) -> None:
        """Something delivered, in order."""
        match delivery:
            case CallEnded(token):
                future = self._calls.get(token)
                if future is not None and not future.done():
                    future.set_result(delivery)
            case Abandoned(token):
                task = self._running.pop(token, None)
                if task is not None:
                    task.cancel()
            case Execute():
                self._execute(delivery)

    def close(self, why: str = "the process was closed while the call was under way") -> None:
        """Nothing runs any more, and nobody will be answered."""
        self._closed = True
        running, self._running = self._running, {}
        for task in running.values():
            task.cancel()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(OutcomeUnknown(why))

    def _execute(self, execute: Execute) -> None:
        instance, service = self._services[execute.group]
        procedure = service.find(execute.operation, execute.types)
        assert procedure is not None, "the machine has looked"
        outcome: Outcome
        try:
            arguments = procedure.decode(execute.arguments)
            if procedure.is_async and len(self._running) >= RUNNING_MAX:
                raise RuntimeError(f"{RUNNING_MAX} procedures run at this host already")
            result = procedure.function(instance, **arguments)
            if procedure.is_async:
                self._run(execute, procedure, result)
                return
            outcome = procedure.outcome(result)
        except msgspec.DecodeError as error:
            outcome = raised(TypeError(f"{procedure.where}: {error}"))
        except BaseException as error:  # whatever the user's procedure raises
            outcome = _raised(procedure, error)
        self._machine.submit(Executed(execute.token, outcome))

    def _run(self, execute: Execute, procedure: Procedure, coroutine: Coroutine[Any, Any, Any]) -> None:
        async def run() -> None:
            try:
                async with asyncio.timeout(execute.patience_ms / 1000):
                    outcome = procedure.outcome(await coroutine)
            except BaseException as error:  # whatever the user's procedure raises, and TimeoutError
                if execute.token not in self._running:  # nobody wants to know
                    raise
                outcome = _raised(procedure, error)
            self._running.pop(execute.token, None)
            self._machine.submit(Executed(execute.token, outcome))

        self._running[execute.token] = asyncio.get_running_loop().create_task(run())


def _raised(procedure: Procedure, error: BaseException) -> Outcome:
    """What a procedure raised, as a value.  An interrupt is the program's."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    if is_stray(error):
        return raised(RuntimeError(f"{procedure.where} raised {type(error).__name__}"))
    return raised(error)
