"""The benchmark of counts: the same figures in every run, and a regression of any kind is seen (issue: no regression
unseen)."""

import functools
import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from rich.console import Console

from bench.counts import (
    INTERPRETER,
    PROTOCOL,
    VERSION,
    Difference,
    Figures,
    as_toml,
    compare,
    count,
    judge,
    merged,
    places_of,
    read_ratchet,
)
from bench.page import BEGIN, END, PAGE, table_of, with_table
from bench.workloads import WORKLOADS
from phalanx.group.messages import Ack, Envelope
from phalanx.model.clock import Instant
from phalanx.model.machine import Output
from phalanx.node.node import Node
from tests.source import PACKAGE, ROOT, compiled_modules

MULTICAST = "multicast, 1 sender, 1 under way"
DURABLE = "durable multicast, 1 sender, 1 under way"
PUT = "put, 1 under way"
LEASED = "leased get, 1 under way"

EXACT = (*PROTOCOL, "instructions", "calls", "client instructions")
"""What is the same in every run of one Python, to the last digit."""

Step = Callable[[Node, Iterable[Any], Instant], Output]

STEP: Step = Node.step


@functools.cache
def counted(workload: str) -> Figures:
    """What the code as it is costs; tests that plant something count for themselves."""
    return count(WORKLOADS[workload])


def figures_of(differences: list[Difference]) -> set[str]:
    return {each.figure for each in differences}


def counted_under(seed: str) -> dict[str, Figures]:
    """What a process counts whose hashes are of that seed."""
    words = f"print(json.dumps({{name: count(WORKLOADS[name]) for name in {[MULTICAST, DURABLE, PUT, LEASED]}}}))"
    program = f"import json; from bench.counts import count; from bench.workloads import WORKLOADS; {words}"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": seed, "PHALANX_PURE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Figures] = json.loads(ended.stdout)
    return found


def test_other_processes_count_the_same_whatever_their_hash_seeds() -> None:
    """To the last instruction, and memory to its slack: the ratchet holds the code and not the run.  A regression of one
    frame is seen all the same."""
    one = counted_under("1" if os.environ.get("PYTHONHASHSEED") != "1" else "77")
    other = {name: counted(name) for name in one}
    assert {name: [figures[f] for f in EXACT] for name, figures in one.items()} == {
        name: [figures[f] for f in EXACT] for name, figures in other.items()
    }
    assert judge(other, merged(one, {}), quiet()) == 0
    worse = {name: figures | {"frames": figures["frames"] + 1} for name, figures in other.items()}
    assert judge(worse, merged(one, {}), quiet()) == 1


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_the_ratchet_in_the_repository_holds_every_figure_of_every_workload() -> None:
    ratchet = read_ratchet()
    assert list(ratchet) == list(WORKLOADS)
    for parts in ratchet.values():
        assert tuple(parts["protocol"]) == PROTOCOL
        assert all(tuple(parts[part]) == INTERPRETER for part in parts if part != "protocol")


def test_a_message_takes_one_round_trip_and_two_frames_for_each_other_member() -> None:
    """The batch to the others and their acknowledgements, and a few between them now and then."""
    figures = counted(MULTICAST)
    assert (figures["ticks"], figures["stores"]) == (2, 0)
    assert 4 <= figures["frames"] < 4.2


def test_a_durable_write_is_synced_once_by_each_member() -> None:
    """DESIGN section 5: received means on the host's disk, for the sender too."""
    figures = counted(DURABLE)
    assert (figures["ticks"], figures["fsyncs"], figures["appends"]) == (3, 3, 3)


def test_a_leased_read_asks_nobody() -> None:
    """DESIGN section 9: there and back between client and node, and not a frame between nodes."""
    figures = counted(LEASED)
    assert (figures["ticks"], figures["client frames"]) == (2, 2)
    assert figures["frames"] < 0.1, "of the writes before"
    assert figures["steps"] < 1.1


HOT = 0.0025
"""Of the instructions of a put with nothing else under way: what a module has to take to be worth compiling."""

INTERPRETED = {"services/store/kv.py": "the store's own class, from which a user may derive"}
"""Modules that take more, and why they are not compiled all the same."""


def test_what_takes_instructions_is_compiled() -> None:
    """A module that came new, and was on no list, was interpreted for a day, and nothing said so."""
    compiled = {f"{module.name.removeprefix('phalanx.').replace('.', '/')}.py" for module in compiled_modules()}
    _, places = places_of("durable put, 1 under way")
    hot = {
        path
        for path, number in places.items()
        if number > HOT * places.total() and (ROOT / "src" / PACKAGE / path).exists()
    }
    assert len(hot) > 5
    assert hot - compiled <= INTERPRETED.keys(), "put it into COMPILED of hatch_build.py, or say here why not"


def growth(workload: str, other: str, figure: str) -> float:
    """How many times as much the ratchet says that a figure is under the other load."""
    ratchet = read_ratchet()
    for part, figures in ratchet[workload].items():
        if figure in figures:
            return ratchet[other][part][figure] / figures[figure]
    raise AssertionError(figure)


@pytest.mark.parametrize("operation", ["put", "get"])
@pytest.mark.parametrize("figure", ["instructions", "calls", "frames", "bytes", "client frames", "steps"])
def test_a_thousand_clients_cost_nodes_what_ten_do(operation: str, figure: str) -> None:
    """Within 10%, by what the file holds, if they have as much under way in all.  But each answer is a write of its own
    then, since each connection has one."""
    few, many = (f"{operation}, 1000 under way from {clients} clients" for clients in (10, 1000))
    assert growth(few, many, figure) < 1.1
    assert growth(few, many, "socket writes") > 10


@pytest.mark.parametrize("figure", ["frames", "bytes", "socket writes", "steps", "ticks"])
def test_a_hundred_groups_with_full_batches_cost_as_many_frames_as_one(figure: str) -> None:
    one, hundred = (f"multicast, 3 senders, 100 x 512 in {groups}" for groups in ("1 group", "100 groups"))
    assert growth(one, hundred, figure) < 1.1


@pytest.mark.parametrize("figure", ["instructions", "calls", "frames", "bytes", "steps"])
def test_idle_groups_cost_a_put_nothing(figure: str) -> None:
    assert growth(PUT, f"{PUT} beside 99 idle groups", figure) < 1.05


# --- planted regressions ------------------------------------------------------------------------------------------


def with_an_extra_acknowledgement(node: Node, events: Iterable[Any], now: Instant) -> Output:
    """One member acknowledges twice: one frame more for each message."""
    out = STEP(node, events, now)
    if node.group.me.name == "b":
        for sends in (out.sends, out.eager):
            sends += [s for s in sends if isinstance(s.message, Envelope) and isinstance(s.message.body, Ack)]
    return out


def with_an_idle_loop(node: Node, events: Iterable[Any], now: Instant) -> Output:
    for _ in range(100):
        pass
    return STEP(node, events, now)


def with_a_leak(node: Node, events: Iterable[Any], now: Instant) -> Output:
    leaked.append(list(events))
    return STEP(node, leaked[-1], now)


def with_a_second_record(node: Node, events: Iterable[Any], now: Instant) -> Output:
    out = STEP(node, events, now)
    out.appends *= 2
    return out


leaked: list[Any] = []


@pytest.mark.parametrize(
    ("step", "workload", "seen"),
    [
        (with_an_extra_acknowledgement, MULTICAST, {"frames", "bytes", "instructions"}),
        (with_an_extra_acknowledgement, "multicast, 1 sender, 64 in a batch", {"frames", "instructions"}),
        (with_an_extra_acknowledgement, PUT, {"frames", "bytes"}),
        (with_an_idle_loop, MULTICAST, {"instructions"}),
        (with_a_leak, MULTICAST, {"kept"}),
        (with_a_second_record, DURABLE, {"appends", "log bytes"}),
    ],
)
def test_a_planted_regression_is_worse_than_the_ratchet(
    step: Step, workload: str, seen: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ratchet = merged({workload: counted(workload)}, {})
    monkeypatch.setattr(Node, "step", step)
    try:
        found = {workload: count(WORKLOADS[workload])}
    finally:
        leaked.clear()
    assert seen <= figures_of([each for each in compare(found, ratchet) if each.is_worse])
    told = quiet()
    assert judge(found, ratchet, told) == 1
    assert isinstance(told.file, io.StringIO)
    assert "worse than the ratchet" in told.file.getvalue()


# --- the ratchet --------------------------------------------------------------------------------------------------

FOUND = {MULTICAST: dict.fromkeys((*PROTOCOL, *INTERPRETER), 100.0)}


def test_what_is_held_differs_from_nothing() -> None:
    assert compare(FOUND, merged(FOUND, {})) == []


@pytest.mark.parametrize(
    ("figure", "now", "differs"),
    [
        ("frames", 100.00001, False),
        ("frames", 100.001, True),
        ("frames", 99.0, True),
        ("bytes", 100.9, False),
        ("bytes", 101.1, True),
        ("instructions", 101.9, False),
        ("instructions", 102.1, True),
        ("instructions", 97.0, True),
        ("kept", 106.0, False),
        ("kept", 108.0, True),
        ("blocks", 94.0, True),
    ],
)
def test_a_figure_may_differ_by_its_slack(figure: str, now: float, differs: bool) -> None:
    found = {MULTICAST: FOUND[MULTICAST] | {figure: now}}
    expected = [Difference(MULTICAST, figure, 100.0, now)] if differs else []
    assert compare(found, merged(FOUND, {})) == expected
    assert all(each.is_worse == (now > 100) for each in expected)


def test_another_version_of_python_is_held_by_itself() -> None:
    ratchet = {MULTICAST: {"protocol": {"frames": 100.0}, "python 2.7": {"instructions": 1.0}}}
    assert compare(FOUND, ratchet) == []
    both = merged(FOUND, ratchet)[MULTICAST]
    assert both["python 2.7"] == {"instructions": 1.0}
    assert set(both) == {"protocol", "python 2.7", VERSION}


def test_the_file_gives_back_what_was_written() -> None:
    ratchet = merged(FOUND, {})
    assert tomllib.loads(as_toml(ratchet)) == ratchet


def test_the_page_has_the_figures_of_the_ratchet() -> None:
    page = PAGE.read_text("utf-8")
    assert page == with_table(page, read_ratchet()), "write it: python -m bench.counts --write"


def test_what_is_held_goes_between_the_marks_of_the_page() -> None:
    ratchet = merged(FOUND, {})
    page = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", ratchet)
    assert page == f"before\n{BEGIN}\n{table_of(ratchet)}\n{END}\nafter\n"
    assert f"| {MULTICAST} | 100 |" in page
    with pytest.raises(ValueError, match="marks"):
        with_table("nothing of the kind", ratchet)


# --- the command --------------------------------------------------------------------------------------------------


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench.counts", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_what_was_counted() -> None:
    ended = run("--only", "get, 1 under way")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "instructions" in ended.stdout


def test_the_command_counts_in_other_sizes() -> None:
    ended = run("--only", "multicast, 1 sender, 1 under", "--members", "2")
    assert ended.returncode == 0, ended.stderr
    assert "members" in ended.stdout


def test_the_command_says_where_the_instructions_are() -> None:
    ended = run("--only", "get, 1 under way", "--where")
    assert ended.returncode == 0, ended.stderr
    assert "replication/gateway.py" in ended.stdout


@pytest.mark.parametrize("words", [("--only", "nothing like it"), ("--members", "1"), ("--members", "3-2")])
def test_the_command_says_what_it_cannot_do(words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert ended.returncode == 2
    assert words[1] in ended.stderr
