"""The explorer visits what it should, finds planted errors, and the real code stands up to it.

The planted errors are those of DESIGN section 13 and of the model on paper, put into the real code.
"""

from collections.abc import Callable
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from phalanx.cli.explore import explore_command
from phalanx.group import coordinator, core, detector, flush, intake, proposal
from phalanx.group.core import Core
from phalanx.group.flush import Attempt
from phalanx.group.machine import GroupMachine
from phalanx.group.membership import Membership
from phalanx.group.multicast import Multicasting
from phalanx.lab.explore import SCENARIOS, SHORT, Explorer, Report, Scenario, explore
from phalanx.lab.explore.birth import births
from phalanx.lab.explore.fork import encode, fork
from phalanx.lab.explore.members import Members, State
from phalanx.lab.explore.oracle import Oracle
from phalanx.lab.explore.scenarios import FIFO, TOTAL
from phalanx.model.clock import Instant
from phalanx.model.events import Multicast
from phalanx.model.history import SawMessage, SawState, Sent
from phalanx.model.machine import Refused
from phalanx.model.view import View
from phalanx.parts.spool import Spool

QUIET = Scenario("quiet", TOTAL)
ONE_MESSAGE = Scenario("one message", TOTAL, sends=(1, 0, 0))
CRASH_OF_THE_ELDEST = Scenario("crash of the eldest", TOTAL, sends=(1, 0, 0), crashes=1, victims=(0,))
CRASH_OF_ANYONE = Scenario("crash of anyone", TOTAL, crashes=1)
YOUNGEST_DOUBTED = Scenario("the youngest is doubted", TOTAL, suspicions=((0, 2),), suspicions_max=1)
LOST_PREPARE = YOUNGEST_DOUBTED._replace(name="a lost PREPARE", sends=(0, 0, 1), losses=1)
DECISION_LOST = YOUNGEST_DOUBTED._replace(name="its coordinator dies", crashes=1, victims=(0,))

# --- copies and comparisons


def born(scenario: Scenario = QUIET) -> tuple[Members, GroupMachine]:
    members = Members(scenario)
    machine = members.states[births(members)[0]].machine
    assert machine is not None
    return members, machine


def group_of(machine: GroupMachine) -> int:
    assert machine.view is not None
    return machine.view.groups[0].id


def test_every_exploration_begins_in_view_1_with_three_full_members_and_their_group() -> None:
    members = Members(QUIET)
    machines = [members.states[number].machine for number in births(members)]
    views = {machine.view for machine in machines if machine is not None}
    (view,) = views
    assert view is not None
    assert (view.id, [m.name for m in view.members], view.learners) == (1, ["a", "b", "c"], ())
    assert [group.hosts for group in view.groups] == [("a", "b", "c")]


def test_a_fork_behaves_like_its_original() -> None:
    _, machine = born()
    copy = fork(machine)
    now = Instant(5_000_000_000, 1_000_000_000)
    for event in (Multicast(group_of(machine), (b"x",)), Refused("b")):
        ours, theirs = machine.step([event], now), copy.step([event], now)
        assert ours.eager == theirs.eager
        assert ours.sends == theirs.sends
        assert ours.notes == theirs.notes
    assert encode(copy) == encode(machine)


def test_a_fork_shares_nothing_that_changes() -> None:
    _, machine = born()
    before, copy = encode(machine), fork(machine)
    copy.step([Multicast(group_of(machine), (b"x",)), Refused("b"), Refused("c")], Instant(9_000_000_000, 0))
    assert encode(machine) == before
    assert encode(copy) != before


def test_a_value_that_the_explorer_does_not_know_is_refused() -> None:
    class Unknown:
        pass

    for operation in (fork, encode):
        with pytest.raises(TypeError, match="unknown to the explorer"):
            operation([Unknown()])


def test_large_scenarios_can_be_explored() -> None:
    """Their beginnings, at least: a restarted member has been sent the state of its group within 3,000 states."""
    report = explore(SCENARIOS["restart-of-a-voter"], 3000)
    assert (report.states, report.violation, report.complete) == (3001, None, False)


def test_what_a_transfer_gathers_is_copied_and_compared() -> None:
    """A hash in the middle of a snapshot, and the bytes that do not fill a piece yet."""
    spool = Spool(4)
    spool.append(b"abcdef")
    copy = fork(spool)
    assert encode(copy) == encode(spool)
    copy.append(b"g")
    assert encode(copy) != encode(spool)
    assert (spool.read(0, 9), copy.read(0, 9)) == (b"abcdef", b"abcdefg")
    spool.append(b"g")
    assert spool.digest == copy.digest
    assert encode(copy) == encode(spool)


def test_equal_machines_encode_alike_whatever_the_order_of_their_dicts() -> None:
    one, other = {"a": {1, 2}, "b": [3]}, {"b": [3], "a": {2, 1}}
    assert encode(one) == encode(other)
    assert encode(one, ordered=True) != encode(other, ordered=True)
    assert encode(one) != encode({"a": {1, 2}, "b": [4]})


# --- the search


def test_without_faults_every_order_of_messages_delivers_the_same() -> None:
    explorer = Explorer(SCENARIOS["calm-total-order"]._replace(sends=(1, 0, 1)))
    report = explorer.run()
    assert report.complete
    assert report.violation is None
    ends = {
        tuple(e.payload for e in seen if isinstance(e, SawMessage)) for o in explorer.oracle.outcomes for seen, _ in o
    }
    assert {b"a1", b"c1"} in map(set, ends), "both messages are delivered somewhere"
    assert {(b"a1", b"c1"), (b"c1", b"a1")} <= ends, "which comes first depends on the order of events"


@pytest.mark.parametrize("scenario", [ONE_MESSAGE, CRASH_OF_THE_ELDEST._replace(sends=(0, 0, 0)), YOUNGEST_DOUBTED])
def test_the_real_code_holds_in_every_state(scenario: Scenario) -> None:
    report = Explorer(scenario).run(60_000)
    assert report.violation is None
    assert report.quiet > 0, "states were asked whether they are wedged"


def test_the_real_code_holds_when_the_eldest_crashes_with_a_message_in_flight() -> None:
    report = explore(CRASH_OF_THE_ELDEST)
    assert (report.complete, report.violation) == (True, None)


def test_the_reduction_leaves_out_states_but_no_end() -> None:
    """(An end is what the three applications have seen where nothing can happen any more.)"""
    whole, reduced = Explorer(CRASH_OF_ANYONE), Explorer(CRASH_OF_ANYONE, reduce=True)
    of_whole, of_reduced = whole.run(), reduced.run()
    assert of_whole.complete
    assert of_reduced.complete
    assert of_reduced.states < of_whole.states
    assert ends(reduced) == ends(whole)


def ends(explorer: Explorer) -> set[Any]:
    return {
        tuple((explorer.members.states[n].history, explorer.members.states[n].parting) for n in state)
        for state in explorer.calm.judged
    }


def test_no_rule_depends_on_the_order_in_which_dicts_were_filled() -> None:
    sorted_, ordered = Explorer(CRASH_OF_ANYONE), Explorer(CRASH_OF_ANYONE, ordered=True)
    assert sorted_.run().complete
    assert ordered.run().complete
    assert sorted_.oracle.outcomes == ordered.oracle.outcomes


def test_a_bound_on_states_is_kept_and_said() -> None:
    report = Explorer(CRASH_OF_THE_ELDEST).run(500)
    assert 500 <= report.states < 5_000
    assert not report.complete
    assert report.violation is None


def test_a_state_that_was_transferred_follows_the_deliveries_it_holds() -> None:
    """The histories of three members say nothing of the order between them; the judge must not invent one."""
    members = Members(QUIET)
    eldest, learner, sender = (members.states[number] for number in births(members))
    assert learner.machine is not None
    assert sender.machine is not None
    group = group_of(sender.machine)
    told, sent = learner.copy(), sender.copy()
    told.history += (SawState(learner.machine.me, group, (b"c1",)),)
    me = sender.machine.me
    sent.history += (Sent(me, group, b"c1"), SawMessage(me, group, 1, me, b"c1"))

    def judge(*states: State) -> str | None:
        a, b, c = map(members.add, states)
        return Oracle(members).judge(a, b, c)

    assert judge(eldest, told, sent) is None
    assert "which was never sent" in str(judge(eldest, told, sender))


# --- it can fail


def never(*_: Any) -> None:
    return None


def any_one(view: View, names: Any) -> bool:
    return len(set(names)) == 3 if view.id == 0 else any(m.name in names for m in view.members)


def show_though_frozen(show: Callable[[Multicasting], None]) -> Callable[[Multicasting], None]:
    """Counter-example 6: a frozen member still acknowledges."""

    def shown(self: Multicasting) -> None:
        flush = self.core.flush
        if flush is None or flush.promised is None:
            return show(self)
        promised, flush.promised = flush.promised, None
        self._owed.update({g: channel for g, channel in self.core.busy.items() if channel.showing.owed})
        show(self)
        flush.promised = promised
        return None

    return shown


def test_fetching_after_the_proposal_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counter-example 1: a cut that not every host of the next view holds.  (A host that looks closely does not accept
    it; so it must not look, either.)"""
    monkeypatch.setattr(Attempt, "lacking", lambda _: {})
    monkeypatch.setattr(intake, "fault_in", never)
    report = explore(CRASH_OF_THE_ELDEST._replace(spec=FIFO))
    assert_found(report, "a host holds the cut")


def test_a_coordinator_that_adopts_no_accepted_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two successors of one view (Lamport 1998, condition B3)."""
    monkeypatch.setattr(Attempt, "adopted", never)
    assert_found(Explorer(DECISION_LOST, reduce=True).run(), "view_agreement")


def test_a_frozen_member_that_acknowledges_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Multicasting, "show_rows", show_though_frozen(Multicasting.show_rows))
    assert_found(Explorer(LOST_PREPARE, reduce=True).run(), "uniformity")


def test_a_promise_that_does_not_freeze_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "frozen", property(lambda _: False))
    assert_found(explore(CRASH_OF_THE_ELDEST), "uniformity")


def test_a_quorum_of_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (coordinator, core, detector, flush, proposal):
        monkeypatch.setattr(module, "is_quorum", any_one)
    report = explore(QUIET._replace(suspicions=((0, 1), (0, 2)), suspicions_max=2))
    assert_found(report, "primary_chain")


def test_a_group_that_never_replaces_a_crashed_coordinator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No safety is broken; the quiet state is a wedge."""
    monkeypatch.setattr(Membership, "reasons", lambda self: ["birth"] if self.core.view.id == 0 else [])
    assert_found(explore(CRASH_OF_THE_ELDEST._replace(sends=(0, 0, 0))), "wedge")


def test_the_path_to_a_violation_is_a_shortest_one_and_reads_as_a_story(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (coordinator, core, detector, flush, proposal):
        monkeypatch.setattr(module, "is_quorum", any_one)
    report = explore(QUIET._replace(suspicions=((0, 1), (0, 2)), suspicions_max=2))
    assert report.path == (
        "a gets false evidence that b is gone",
        "a gets false evidence that c is gone",
        "      a#1000 installs view 2 of a#1000",
    )


def assert_found(report: Report, what: str) -> None:
    assert report.violation is not None
    assert what in report.violation
    assert not report.complete
    assert report.path


# --- the command


def run(*arguments: str) -> tuple[int, list[str]]:
    app = Typer()
    app.command()(explore_command)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout.splitlines()


def test_the_command_reports_what_it_explored() -> None:
    status, lines = run("calm-total-order", "--jobs", "1")
    assert status == 0
    assert lines[0].startswith("calm-total-order: ")
    assert lines[-1].startswith("states=")
    assert lines[-1].endswith(" scenarios=1 violations=0 complete=yes")


def test_the_command_says_when_it_did_not_see_everything() -> None:
    status, lines = run("--short", "--jobs", "1", "--max-states", "100")
    assert status == 0
    assert lines[-1].endswith(f" scenarios={len(SHORT)} violations=0 complete=no")


def test_the_command_explores_scenarios_in_worker_processes() -> None:
    status, lines = run("--short", "--jobs", "2", "--max-states", "100")
    assert status == 0
    assert lines[-1].endswith(f" scenarios={len(SHORT)} violations=0 complete=no")


def test_the_command_tells_the_path_to_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attempt, "lacking", lambda _: {})
    monkeypatch.setattr(intake, "fault_in", never)
    status, lines = run("one-crash-fifo-1-message", "--jobs", "1")
    assert status == 1
    assert "  violation: raised: AssertionError: a host holds the cut" in lines
    assert "  a crashes" in lines
    assert lines[-1].endswith(" scenarios=1 violations=1 complete=no")


def test_the_command_refuses_a_scenario_that_there_is_not() -> None:
    assert run("no-such-thing")[0] == 2
