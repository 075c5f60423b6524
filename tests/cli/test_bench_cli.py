"""`phalanx bench` against a node, with its processes of clients."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from phalanx.cli.bench import figures_of, shares_of
from phalanx.cli.main import command_line
from phalanx.lab.loadgen import load
from phalanx.lab.loadgen.load import Plan
from tests.cli.node import a_node

PLAN = Plan("mixed", ("a:1", "b:2"), outstanding=17, clients=5, seconds=2.0)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with a_node() as found:
        yield found


def bench(*words: str) -> Any:
    return CliRunner().invoke(command_line(["bench"]), ["bench", *words])


def remaining(address: str) -> str:
    return (
        CliRunner()
        .invoke(command_line(["kv"]), ["kv", "count", "bench/", "bench0", "--endpoint", address])
        .stdout.strip()
    )


@pytest.mark.parametrize("what", ["put", "get", "mixed"])
def test_it_measures_and_leaves_no_key(address: str, what: str) -> None:
    words = ("--endpoints", address, "--seconds", "0.3", "--outstanding", "6", "--keys", "200", "--processes", "2")
    done = bench(what, *words, "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    expected = {"put", "get", "all"} if what == "mixed" else {what}
    assert set(figures["operations"]) == expected
    for row in figures["operations"].values():
        assert row["count"] > 0
        assert row["p50_us"] <= row["p90_us"] <= row["p99_us"] <= row["p99.9_us"] <= row["max_us"]
    assert len(figures["cpu"]) == len(figures["waited"]) == 2
    assert figures["errors"] == {}
    assert remaining(address) == "0"


def test_the_table_has_the_latencies_and_says_how_busy_the_clients_were(address: str) -> None:
    done = bench("--endpoints", f"{address},{address}", "--seconds", "0.2", "--keys", "50", "--value-bytes", "0")
    assert done.exit_code == 0, done.output
    for words in ("ops/s", "p99.9 us", "64 under way from 4 clients", "processes of clients: busy"):
        assert words in done.stdout
    assert remaining(address) == "0"


def test_keys_are_removed_when_the_measurement_fails(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phalanx.cli.bench.shares_of", lambda *_: [load.Plan("get", ("127.0.0.1:1",), 1, 1, 0.1)])
    done = bench("get", "--endpoints", address, "--seconds", "0.2", "--keys", "50", "--processes", "1")
    assert done.exit_code == 3
    assert "not measured: no endpoint serves the store" in done.output
    assert remaining(address) == "0"


def test_only_the_cluster_that_is_meant_is_measured(address: str) -> None:
    done = CliRunner().invoke(command_line(["status"]), ["status", "--endpoint", address, "--json"])
    cluster = json.loads(done.stdout)[address]["cluster"]
    words = ("put", "--endpoints", address, "--seconds", "0.1", "--keys", "10", "--json", "--cluster")
    assert json.loads(bench(*words, cluster).stdout)["errors"] == {}
    done = bench(*words, "c0ffee")
    assert done.exit_code == 3 and "c0ffee" in done.output
    assert bench(*words, "mine").exit_code == 2
    assert remaining(address) == "0"


def test_clients_of_another_cluster_come_to_no_session(address: str) -> None:
    async def main() -> None:
        await load.Load(Plan("put", (address,), 1, 1, 0.1, cluster=0xC0FFEE)).open()

    with pytest.raises(ConnectionError, match="c0ffee"):
        asyncio.run(main())


def test_a_cluster_that_is_not_there_is_told() -> None:
    done = bench("--endpoints", "127.0.0.1:1", "--seconds", "0.2")
    assert (done.exit_code, "not measured" in done.output) == (3, True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--endpoints", "nowhere"), "is no address"),
        (("--outstanding", "3", "--clients", "4"), "as many operations"),
        (("--outstanding", "2000", "--clients", "1"), "more --clients"),
        (("--clients", "2", "--processes", "3"), "3 processes for 2 clients"),
        (("--value-bytes", "600000"), "value-bytes"),
        (("--keys", "10001"), "keys"),
        (("scan",), "scan"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: tuple[str, ...], complaint: str) -> None:
    done = bench(*words)
    assert done.exit_code == 2
    assert complaint in done.output.replace("\n", " ")


def test_processes_share_clients_and_operations_evenly() -> None:
    for processes in range(1, 6):
        shares = shares_of(PLAN, processes)
        assert len(shares) == processes
        assert sum(share.clients for share in shares) == PLAN.clients
        assert sum(share.outstanding for share in shares) == PLAN.outstanding
        assert [share.first for share in shares] == [sum(s.clients for s in shares[:n]) for n in range(processes)]
        assert len({share.seed for share in shares}) == processes


@pytest.mark.parametrize(("cpu", "waited", "bound"), [(0.95, 0.0, "cpu"), (0.5, 0.45, "cores"), (0.5, 0.1, "")])
def test_the_figures_say_what_the_clients_lacked(cpu: float, waited: float, bound: str) -> None:
    results = [
        load.Result(2.0, 0.1, 0.0, {"put": {100: 10}}, {"put": 100}, {"busy": 1}),
        load.Result(2.0, cpu, waited, {"put": {100: 30}}, {"put": 100}, {"busy": 2}),
    ]
    figures = figures_of(PLAN, results)
    assert figures["client_bound"] == bound
    assert figures["errors"] == {"busy": 3}
    assert figures["operations"]["put"]["ops_per_s"] == 20
