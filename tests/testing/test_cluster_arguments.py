"""A cluster for a test that is told what makes no sense says so, and nothing has happened."""

from typing import Any

import pytest

import phalanx
from phalanx import testing
from phalanx.errors import ConfigurationError
from phalanx.runtime.loop import run
from tests.testing.subjects import Bank
from tests.testing.test_cluster import PATIENCE_S, in_cluster


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"nodes": "3"}, TypeError, "the number of nodes must be an int, not str"),
        ({"nodes": 2.5}, TypeError, "the number of nodes must be an int, not float"),
        ({"nodes": True}, TypeError, "the number of nodes must be an int, not bool"),
        ({"objects": [Bank]}, TypeError, "objects are a mapping from names, not"),
        ({"objects": {"": Bank}}, ConfigurationError, "the name of an object must not be empty"),
        ({"objects": {"\ud800": Bank}}, ConfigurationError, "the name of an object cannot be encoded"),
        ({"objects": {"Bank": phalanx.Hosted(Bank, -1)}}, ConfigurationError, "no length of leases: -1 ms"),
        ({"durable": "no"}, TypeError, "durable must be True or False, not 'no'"),
        ({"real": "no"}, TypeError, "real must be True or False, not 'no'"),
        ({"real": True, "tls": 5}, TypeError, "tls is a phalanx.TLS, not 5"),
    ],
)
def test_a_cluster_of_other_types_is_refused(options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        testing.cluster(**options)


def inside() -> type[object]:
    """A class that only nodes inside the test's process can have."""

    class Inside:
        count: int = 0

        @phalanx.command
        def add(self) -> None: ...

    return Inside


def test_nodes_are_told_what_they_can_do_or_nothing_happens() -> None:
    async def story(given: testing.Nodes) -> None:
        nodes: Any = given
        wrongs: tuple[tuple[Any, type[Exception], str], ...] = (
            (lambda: nodes.partition(5), TypeError, "the sides of a partition are a sequence, not 5"),
            (lambda: nodes.partition([[]]), ConfigurationError, r"no node \[\]"),
            (lambda: nodes.fail("a", value="x"), TypeError, "value is a fraction of messages, from 0 to 1, not 'x'"),
            (lambda: nodes.fail("a", slow_s="x"), TypeError, "slow_s is a number of seconds, not str"),
            (lambda: nodes.wait_until_full(5), TypeError, "the nodes to wait for are a sequence, not 5"),
            (lambda: nodes.wait_until_full("a", "x"), TypeError, "how long to wait is a number of seconds, not str"),
            (lambda: nodes.wait_until_full("a", float("nan")), ConfigurationError, "a finite number of seconds"),
            (lambda: nodes.restart("a", classes=["Bank"]), TypeError, "classes are a mapping from names"),
            (lambda: nodes.restart("a", classes={"Bank": 5}), TypeError, "give the class, not 5"),
            (lambda: nodes.restart("a", classes={"Bank": inside(), "None": Bank}), ConfigurationError, "object 'None'"),
        )
        for wrong, error, why in wrongs:
            with pytest.raises(error, match=why):
                await wrong()
        with pytest.raises(TypeError, match="a client is to know are a sequence, not 5"):
            nodes.connect(names=5)
        assert list(given.running) == ["a", "b"]
        await nodes.restart("a")
        await nodes.wait_until_full("aab")
        async with nodes.connect(PATIENCE_S, "ab") as client:
            assert await client.object(Bank).call(Bank.deposit, "ann", 3) == 3

    in_cluster(story, testing.cluster(2, objects={"Bank": Bank}))


@pytest.mark.real
def test_a_real_node_is_not_started_with_a_class_that_it_cannot_import() -> None:
    async def story(nodes: testing.Nodes) -> None:
        with pytest.raises(ConfigurationError, match="defined inside a function"):
            await nodes.restart("a", classes={"Bank": inside()})
        assert list(nodes.running) == ["a"]
        await nodes.wait_until_full()

    in_cluster(story, testing.cluster(1, objects={"Bank": Bank}, real=True))


def test_a_cluster_that_has_ended_is_cut_no_more() -> None:
    async def main() -> None:
        async with testing.cluster(2) as nodes:
            pass
        with pytest.raises(ConfigurationError, match="this cluster has ended with its block"):
            await nodes.cut("a", "b")

    run(main())
