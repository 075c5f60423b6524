"""Simulated runs as chronicles, and as diagrams (lab/depict.py)."""

import re
from typing import NamedTuple

import pytest

from phalanx.diagram.chronicle import Chronicle, Message
from phalanx.diagram.layout import lay_out
from phalanx.diagram.model import FAMILIES, SORTS, Diagram
from phalanx.lab.depict import TEXT_MAX, depict, family, look
from phalanx.lab.durable import DurableScenario
from phalanx.lab.groups import GroupScenario
from phalanx.lab.service import ServiceScenario
from phalanx.lab.store import StoreScenario
from phalanx.model.events import Delivered, Installed
from phalanx.sim.faults import Killing, Partition, end_ns
from phalanx.sim.recording import HandedOver, Recording, Told
from phalanx.sim.run import Result, Scenario, run_seed
from tests.sim.toys import DatagramScenario, GossipScenario

RUNS: tuple[tuple[type[Scenario], int], ...] = (
    (GroupScenario, 7),
    (GroupScenario, 11),
    (GroupScenario, 22),
    (DurableScenario, 1),
    (ServiceScenario, 3),
    (StoreScenario, 2),
    (GossipScenario, 8),
    (DatagramScenario, 2),
)


class Drawn(NamedTuple):
    result: Result
    recording: Recording
    chronicle: Chronicle
    diagram: Diagram


_DRAWN: dict[tuple[type[Scenario], int], Drawn] = {}


def drawn(factory: type[Scenario], seed: int) -> Drawn:
    """(Runs and their drawings are values: the tests share them.)"""
    if (factory, seed) not in _DRAWN:
        _DRAWN[factory, seed] = draw(factory, seed)
    return _DRAWN[factory, seed]


def draw(factory: type[Scenario], seed: int) -> Drawn:
    recording = Recording(look)
    result = run_seed(factory, seed, trace=True, recording=recording)
    chronicle = depict(recording, result, "a scenario")
    return Drawn(result, recording, chronicle, lay_out(chronicle))


each_run = pytest.mark.parametrize(("factory", "seed"), RUNS, ids=lambda value: getattr(value, "__name__", str(value)))


@each_run
def test_looking_changes_nothing(factory: type[Scenario], seed: int) -> None:
    assert drawn(factory, seed).result == run_seed(factory, seed, trace=True)


@each_run
def test_every_message_sent_arrives_or_is_lost_or_is_under_way_at_the_end(factory: type[Scenario], seed: int) -> None:
    run = drawn(factory, seed)
    messages = [happening for happening in run.chronicle.happenings if isinstance(happening, Message)]
    assert len([m for m in messages if m.target]) == run.result.sent
    for message in messages:
        assert len(message.arrivals) + len(message.losses) + message.under_way >= 1
        assert message.under_way >= 0
    assert len({arrow.message for arrow in run.diagram.arrows}) == len(messages)


@each_run
def test_every_arrow_goes_forward_in_time_between_processes_that_run(factory: type[Scenario], seed: int) -> None:
    diagram = drawn(factory, seed).diagram
    assert diagram.arrows
    for arrow in diagram.arrows:
        assert arrow.end_ns >= arrow.begin_ns
        if arrow.fate == "arrived":
            assert arrow.end_ns > arrow.begin_ns
            assert any(life.begin_ns <= arrow.end_ns <= life.end_ns for life in diagram.lanes[arrow.target].lives)
        assert any(life.begin_ns <= arrow.begin_ns <= life.end_ns for life in diagram.lanes[arrow.source].lives)
        assert -1 < arrow.asked <= arrow.sent < len(diagram.lines)
        assert arrow.taken == -1 or arrow.taken > arrow.sent


@each_run
def test_the_lines_of_an_arrow_are_those_of_its_ends(factory: type[Scenario], seed: int) -> None:
    diagram = drawn(factory, seed).diagram
    for arrow in diagram.arrows:
        assert diagram.lines[arrow.sent].lane == diagram.lines[arrow.asked].lane == arrow.source
        assert diagram.lines[arrow.sent].at_ns == arrow.begin_ns
        if arrow.taken >= 0:
            assert diagram.lines[arrow.taken].lane == arrow.target
            assert diagram.lines[arrow.taken].at_ns >= arrow.end_ns


@each_run
def test_every_view_of_the_run_is_a_cut(factory: type[Scenario], seed: int) -> None:
    run = drawn(factory, seed)
    names = [lane.name for lane in run.diagram.lanes]
    seen = {
        (f"{entry.delivery.view.cluster:x}.{entry.delivery.view.id}", entry.node, entry.at_ns)
        for entry in run.recording.entries
        if isinstance(entry, HandedOver) and isinstance(entry.delivery, Installed)
    }
    assert {(c.view, names[p.lane], p.at_ns) for c in run.diagram.cuts for p in c.points} == seen
    assert seen or factory in (GossipScenario, DatagramScenario)


@each_run
def test_every_delivery_and_crash_and_failure_is_marked(factory: type[Scenario], seed: int) -> None:
    run = drawn(factory, seed)
    marks = [mark.sort for mark in run.diagram.marks]
    notes = run.result.notes
    assert set(marks) <= set(SORTS)
    assert marks.count("start") == notes["sim.start"]
    assert marks.count("crash") == notes.get("sim.crash", 0) + notes.get("sim.power off", 0)
    assert marks.count("pause") == notes.get("sim.pause", 0)
    assert marks.count("failure") == len(run.result.failures)
    delivered = [e for e in run.recording.entries if isinstance(e, HandedOver) and isinstance(e.delivery, Delivered)]
    assert marks.count("deliver") >= len(delivered)


@each_run
def test_the_lines_are_those_of_the_trace(factory: type[Scenario], seed: int) -> None:
    run = drawn(factory, seed)
    lines = run.result.trace.splitlines()
    assert len(lines) == len(run.diagram.lines)
    names = [lane.name for lane in run.diagram.lanes]
    for line, drawn_line in zip(lines, run.diagram.lines, strict=True):
        assert re.sub(r"Envelope\(.*?\), body=", "", line).endswith(drawn_line.text)
        assert drawn_line.lane == -1 or names[drawn_line.lane] in line


@each_run
def test_messages_are_of_a_family_and_their_texts_are_short(factory: type[Scenario], seed: int) -> None:
    run = drawn(factory, seed)
    assert {kind.family for kind in run.diagram.kinds} <= set(FAMILIES)
    assert all(len(run.diagram.texts[arrow.text]) <= TEXT_MAX for arrow in run.diagram.arrows)
    assert all("Envelope" not in run.diagram.texts[arrow.text] for arrow in run.diagram.arrows)


def test_kinds_groups_and_families_are_the_protocols() -> None:
    families = {kind.name: kind.family for run in RUNS for kind in drawn(*run).diagram.kinds}
    assert families["Data"] == "data"
    assert families["Row"] == families["Alive"] == "row"
    assert families["Prepare"] == families["Promise"] == families["Commit"] == "membership"
    assert families["Fetch"] == families["Chunk"] == "transfer"
    assert families["Command"] == families["Reply"] == "client"
    assert families["tuple"] == families["int"] == family("a message of somebody else") == "other"


def test_messages_concern_the_groups_that_they_name() -> None:
    diagram = drawn(GroupScenario, 7).diagram
    assert {name for name in diagram.groups if not name.startswith("group ")} == {"g0", "g1", "g2"}
    for arrow in diagram.arrows:
        groups = len(arrow.groups)
        match diagram.kinds[arrow.kind].name:
            case "Data" | "Fetch" | "Chunk":
                assert groups == 1
            case "Prepare" | "Commit" | "Alive":
                assert groups == 0
    service = drawn(ServiceScenario, 3).diagram
    assert {arrow.groups for arrow in service.arrows if service.kinds[arrow.kind].name == "Command"} == {(0,)}


def test_what_is_known_to_be_stable_is_marked_once_and_in_order() -> None:
    diagram = drawn(GroupScenario, 11).diagram
    reached: dict[tuple[int, str, str], int] = {}
    count = 0
    for mark in diagram.marks:
        if mark.sort == "install":
            reached = {key: value for key, value in reached.items() if key[0] != mark.lane}
        if mark.sort == "stable":
            group, _, authors = diagram.texts[mark.text].partition(": stable ")
            for author, number in re.findall(r"(\w+) up to (\d+)", authors):
                key = (mark.lane, group, author)
                assert int(number) > reached.get(key, 0)
                reached[key] = int(number)
                count += 1
    assert count > 50


def test_states_follow_views() -> None:
    diagram = drawn(GroupScenario, 7).diagram
    assert {state.status for state in diagram.states} == {"member", "learner", "fenced", "out"}
    installed = {point.lane: cut.label for cut in diagram.cuts for point in cut.points}
    last = {state.lane: state for state in diagram.states}
    assert {lane: state.view for lane, state in last.items()} == installed, "cuts are in the order of time"
    assert {state.status for state in last.values()} == {"member"}
    assert all(diagram.texts[state.text] for state in diagram.states)


def test_a_partition_has_sides() -> None:
    run = drawn(GroupScenario, 7)
    partitions = [fault for fault in run.result.plan.faults if isinstance(fault, Partition)]
    found = [trouble for trouble in run.diagram.troubles if trouble.kind == "Partition"]
    assert [trouble.sides for trouble in found] == [fault.groups for fault in partitions] != []
    assert [trouble.begin_ns for trouble in found] == [fault.at_ns for fault in partitions]


def test_faults_end_with_the_storm() -> None:
    terms = ("timing failure", "omission failure", "send omission", "receive omission", "arbitrary")
    for factory, seed in RUNS:
        result, recording, _, diagram = drawn(factory, seed)
        assert all(trouble.end_ns <= max(result.plan.heal_at_ns, trouble.begin_ns) for trouble in diagram.troubles)
        told = [entry.detail for entry in recording.entries if isinstance(entry, Told) and entry.what == "fault"]
        lasting = [fault for _, fault in told if not isinstance(fault, Killing) and end_ns(fault) > fault.at_ns]
        assert len(diagram.troubles) == len(lasting), "crashes are drawn as crashes"
        assert all(diagram.texts[trouble.text].startswith(terms) for trouble in diagram.troubles)


def test_a_long_run_says_that_it_was_cut_off() -> None:
    recording = Recording(look, entries_max=100)
    result = run_seed(GroupScenario, 7, trace=True, recording=recording)
    chronicle = depict(recording, result, "groups")
    assert "of which the first 100 lines are here" in chronicle.subtitle
    assert len(lay_out(chronicle).lines) == 100


def test_the_heading_says_what_is_wrong() -> None:
    good = drawn(GroupScenario, 7)
    assert good.chronicle.subtitle == f"7 processes, {good.result.steps} steps: ok"
    failed = drawn(DatagramScenario, 2)
    assert str(failed.result.failures[0]) in failed.chronicle.subtitle
