"""What a program hands to processes, groups, troupes, clients and clusters is looked at before anything happens: a
mistake is told to whoever makes it, by type, and no node and no client stops because of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import phalanx
from phalanx.api.local import Cluster, local
from phalanx.errors import ConfigurationError, TooLarge
from phalanx.runtime.loop import run
from tests.api.test_arguments import Counter, among, ignore

HALF: str = "\ud800"
"""Half of a surrogate pair: a str that has no encoding."""
HUGE = 1 << 70


class OwnBytes(bytes):
    """Bytes of a class of its own, which have no encoding."""


class Sensor:
    @phalanx.procedure
    def measure(self, room: str) -> int:
        return len(room)

    @phalanx.procedure
    def lie(self) -> int:
        return "much"  # type: ignore[return-value]  # wrong on purpose

    @phalanx.procedure
    def stop(self) -> int:
        raise asyncio.CancelledError

    @phalanx.procedure
    async def stop_later(self) -> int:
        raise asyncio.CancelledError

    @phalanx.procedure
    def leave(self) -> int:
        raise GeneratorExit


class Stray:
    """A replicated class that raises what is not for its callers."""

    value: int = 0

    @phalanx.command
    def stop(self) -> int:
        self.value += 1
        raise asyncio.CancelledError

    @phalanx.command
    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    @phalanx.query
    def leave(self) -> int:
        raise GeneratorExit


STATE: dict[str, Any] = {"durable": True, "snapshot": bytes, "restore": ignore}


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda p: p.group("g", min_copies="2", **STATE), TypeError, "min_copies must be an int, not str"),
        (lambda p: p.group("g", min_copies=1.5, **STATE), TypeError, "min_copies must be an int, not float"),
        (lambda p: p.group("g", min_copies=True), TypeError, "min_copies must be an int, not bool"),
        (lambda p: p.group("g", min_copies=HUGE, **STATE), ConfigurationError, "no number of durable copies"),
        (lambda p: p.group("g", uniform="no"), TypeError, "uniform must be True or False, not 'no'"),
        (lambda p: p.group("g", durable="no", snapshot=bytes, restore=ignore), TypeError, "durable must be True or"),
        (lambda p: p.group("g", snapshot=5, restore=ignore), TypeError, "snapshot must be a function, not int"),
        (lambda p: p.group("g", restore=b""), TypeError, "restore must be a function, not bytes"),
        (lambda p: p.group("g", record=5), TypeError, "record must be a function, not int"),
        (lambda p: p.group(HALF), ConfigurationError, "the name of a group cannot be encoded"),
        (lambda p: p.group("g" * 4096), ConfigurationError, "the name of a group has 4096 letters, the limit is 1024"),
        (lambda p: p.host(Counter, HALF), ConfigurationError, "the name of an object cannot be encoded"),
        (lambda p: p.host(Counter, lease_ms="5"), TypeError, "lease_ms must be an int, not str"),
        (lambda p: p.host(Counter, lease_ms=-1), ConfigurationError, "no length of leases: -1 ms"),
        (lambda p: p.host(Counter, min_copies="1"), TypeError, "min_copies must be an int, not str"),
        (lambda p: p.serve(Sensor), TypeError, "give an instance of Sensor, not the class"),
        (lambda p: p.serve(Sensor(), 5), TypeError, "the name of a troupe must be a str, not int"),
        (lambda p: p.serve(Sensor(), HALF), ConfigurationError, "the name of a troupe cannot be encoded"),
    ],
)
def test_a_node_is_not_stopped_by_what_it_is_asked_to_host(ask: Any, error: type[Exception], text: str) -> None:
    async def work(cluster: Cluster) -> None:
        with pytest.raises(error, match=text):
            await ask(cluster["a"])
        group = await cluster["a"].group("log")
        await group.send(b"good", delivered=True)

    among(1, work)


def asking(then: Callable[[Any], Any]) -> Callable[[phalanx.Process], Any]:
    return lambda process: then(process.troupe(Sensor))


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda p: p.troupe(5), TypeError, "give the class, not 5"),
        (lambda p: p.troupe([]), TypeError, r"give the class, not \[\]"),
        (lambda p: p.troupe(Sensor()), TypeError, "give the class, not <"),
        (lambda p: p.troupe(Sensor, 5), TypeError, "the name of a troupe must be a str"),
        (lambda p: p.troupe(Sensor, HALF), ConfigurationError, "the name of a troupe cannot be encoded"),
        (asking(lambda t: t.within("5")), TypeError, "a deadline is a number of seconds, not str"),
        (asking(lambda t: t.within(float("nan"))), ConfigurationError, "a finite number of seconds, not nan"),
        (asking(lambda t: t.within(float("inf"))), ConfigurationError, "a finite number of seconds, not inf"),
        (asking(lambda t: t.within(1e18)), ConfigurationError, r"from 0 to 1e\+09 seconds"),
        (asking(lambda t: t.within(10**400)), ConfigurationError, "a finite number of seconds"),
        (asking(lambda t: t.within(True)), TypeError, "a deadline is a number of seconds, not bool"),
        (asking(lambda t: t.some(True)), TypeError, "must be an int, not bool"),
        (asking(lambda t: t.jointly(5, 1)), TypeError, "the name of a joint call must be a str"),
        (asking(lambda t: t.jointly("x", "1")), TypeError, "the number of a joint call must be an int, not str"),
        (asking(lambda t: t.jointly("x", 1.5)), TypeError, "the number of a joint call must be an int, not float"),
        (asking(lambda t: t.jointly("x", HUGE)), ConfigurationError, "the number of a joint call is at most"),
        (asking(lambda t: t.jointly(HALF, 1)), ConfigurationError, "the name of a joint call cannot be encoded"),
        (asking(lambda t: t.call([])), ConfigurationError, r"\[\] is no method of Sensor marked @procedure"),
        (asking(lambda t: t.call(Sensor().measure, "a")), ConfigurationError, "measure is bound to an instance"),
        (asking(lambda t: t.call(Sensor.measure)), TypeError, "Sensor.measure: missing a required argument: 'room'"),
        (asking(lambda t: t.call(Sensor.measure, object())), TypeError, "Sensor.measure: an argument cannot be enc"),
        (asking(lambda t: t.call(Sensor.measure, HUGE)), TypeError, "Sensor.measure: an argument cannot be encoded"),
        (asking(lambda t: t.call(Sensor.measure, HALF)), TypeError, "Sensor.measure: an argument cannot be encoded"),
        (asking(lambda t: t.call(Sensor.measure, "x" * (2 << 20))), TooLarge, "bytes of arguments, the limit is"),
    ],
)
def test_a_call_of_a_troupe_that_makes_no_sense_is_not_made(ask: Any, error: type[Exception], text: str) -> None:
    async def work(cluster: Cluster) -> None:
        process = cluster["a"]
        await process.serve(Sensor())
        with pytest.raises(error, match=text):
            await ask(process)
        assert await process.troupe(Sensor).first(Sensor.measure, "attic") == 5

    among(1, work)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Sensor.lie, "CommandFailed: ValidationError: Sensor.lie returned what its annotation does not allow"),
        (Sensor.stop, "RuntimeError: Sensor.stop raised CancelledError"),
        (Sensor.stop_later, "RuntimeError: Sensor.stop_later raised CancelledError"),
        (Sensor.leave, "RuntimeError: Sensor.leave raised GeneratorExit"),
    ],
)
def test_what_a_procedure_may_not_return_or_raise_is_told_of_its_host(method: Any, text: str) -> None:
    async def work(cluster: Cluster) -> None:
        await cluster["a"].serve(Sensor())
        replies = await cluster["b"].troupe(Sensor).call(method)
        error = replies.errors["a"]
        assert f"{type(error).__name__}: {error}".startswith(text)
        assert await cluster["a"].troupe(Sensor).first(Sensor.measure, "attic") == 5

    among(2, work)


def test_what_a_command_raises_for_the_program_is_an_error_of_its_caller() -> None:
    async def work(cluster: Cluster) -> None:
        stray = cluster.client().object(Stray)
        with pytest.raises(RuntimeError, match=r"Stray.stop raised CancelledError"):
            await stray.call(Stray.stop)
        with pytest.raises(RuntimeError, match=r"Stray.leave raised GeneratorExit"):
            await stray.call(Stray.leave)
        assert await stray.call(Stray.add, 5) == 5, "what it had changed was undone"

    among(1, work, objects={"Stray": (Stray, 0)})


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda c: c.object(5), TypeError, "give the class, not 5"),
        (lambda c: c.object([]), TypeError, r"give the class, not \[\]"),
        (lambda c: c.object(Counter()), TypeError, "give the class, not <"),
        (lambda c: c.object(Counter, HALF), ConfigurationError, "the name of an object cannot be encoded"),
        (lambda c: c.object(Counter, "x" * (9 << 20)), ConfigurationError, "letters, the limit is 1024"),
        (lambda c: c.object(Counter).within(1e300), ConfigurationError, r"from 0 to 1e\+09 seconds"),
        (lambda c: c.status(1e300), ConfigurationError, r"from 0 to 1e\+09 seconds"),
        (lambda c: c.object(Counter).call([]), ConfigurationError, r"\[\] is no method of Counter"),
        (lambda c: c.object(Counter).call(Counter().add, 1), ConfigurationError, "Counter.add is bound to an instance"),
        (lambda c: c.object(Counter).call(Counter.add, HALF), TypeError, "Counter.add: an argument cannot be encoded"),
        (lambda c: c.object(Counter).call(Counter.add, nested()), TypeError, "an argument cannot be encoded"),
    ],
)
def test_a_client_is_not_stopped_by_what_it_is_asked(ask: Any, error: type[Exception], text: str) -> None:
    async def work(cluster: Cluster) -> None:
        client = cluster.client()
        with pytest.raises(error, match=text):
            await ask(client)
        assert await client.object(Counter).call(Counter.add, 1) == 1

    among(1, work, objects={"Counter": (Counter, 0)})


def nested() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("stable", "every_s", "error", "text"),
    [
        (5, 1.0, TypeError, "the predicate of a detection must be a function, not int"),
        (bool, "1", TypeError, "a number of seconds, not str"),
        (bool, float("nan"), ConfigurationError, "a finite number of seconds, not nan"),
        (bool, -1, ConfigurationError, "from 0 to"),
    ],
)
def test_a_detection_that_makes_no_sense_takes_no_global_state(
    stable: Any, every_s: Any, error: type[Exception], text: str
) -> None:
    async def work(cluster: Cluster) -> None:
        group = await cluster["a"].group("log", record=bytes)  # nobody reads it
        with pytest.raises(error, match=text):
            await group.detect(stable, every_s=every_s)

    among(1, work)


# --- clusters inside a program ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"count": True}, TypeError, "must be an int, not bool"),
        ({"timing": 5}, TypeError, "timing is a phalanx.Timing"),
        ({"limits": 5}, TypeError, "limits are phalanx.Limits"),
        ({"objects": 5}, TypeError, "objects are a mapping from names, not 5"),
        ({"objects": {"Counter": Counter}}, TypeError, r"must be \(Class, lease_ms\) or Hosted"),
        ({"objects": {"Counter": (Counter, 0, False, 1, 5)}}, TypeError, r"must be \(Class, lease_ms\) or Hosted"),
        ({"objects": {"": (Counter, 0)}}, ConfigurationError, "the name of an object must not be empty"),
        ({"objects": {HALF: (Counter, 0)}}, ConfigurationError, "the name of an object cannot be encoded"),
        ({"objects": {"x" * 4096: (Counter, 0)}}, ConfigurationError, "4096 letters, the limit is 1024"),
        ({"objects": {"Counter": (Counter, "0")}}, TypeError, "lease_ms must be an int, not str"),
        ({"objects": {"Counter": (Counter, -1)}}, ConfigurationError, "no length of leases: -1 ms"),
    ],
)
def test_a_cluster_that_makes_no_sense_does_not_begin(settings: Any, error: type[Exception], text: str) -> None:
    async def work() -> None:
        async with local(**{"count": 1, **settings}):
            pytest.fail("it began")

    with pytest.raises(error, match=text):
        run(work())


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda c: c.cut("a", "zz"), ConfigurationError, "no process 'zz': there are a, b"),
        (lambda c: c.cut("a", "a"), ConfigurationError, "a cannot be cut off from itself"),
        (lambda c: c.heal("a", []), ConfigurationError, r"no process \[\]"),
        (lambda c: c.pause("zz"), ConfigurationError, "no process 'zz'"),
        (lambda c: c.resume("zz"), ConfigurationError, "no process 'zz'"),
        (lambda c: c.start("zz"), ConfigurationError, "no process 'zz'"),
        (lambda c: c.start([]), ConfigurationError, r"no process \[\]"),
        (lambda c: c.client(names=["zz"]), ConfigurationError, "no process 'zz'"),
        (lambda c: c.client(names=[]), ConfigurationError, "name a process"),
        (lambda c: c.client(names=5), TypeError, "are a sequence, not 5"),
    ],
)
def test_a_local_cluster_knows_its_processes(ask: Any, error: type[Exception], text: str) -> None:
    async def work(cluster: Cluster) -> None:
        with pytest.raises(error, match=text):
            ask(cluster)
        await cluster.joined()

    among(2, work)


def test_a_process_that_is_started_with_what_cannot_be_hosted_can_be_started_as_before() -> None:
    async def work(cluster: Cluster) -> None:
        await cluster.kill("a")
        objects: Any = {"Counter": Counter}
        with pytest.raises(TypeError, match=r"must be \(Class, lease_ms\) or Hosted"):
            cluster.start("a", objects)
        cluster.start("a")
        await cluster.joined()
        assert await cluster.client().object(Counter).call(Counter.add, 1) == 1

    among(2, work, objects={"Counter": (Counter, 0)})
