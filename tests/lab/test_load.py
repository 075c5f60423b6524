"""What the load's records say of a history (phalanx.lab.load), and that its verdicts can be bad."""

from phalanx.check import Answer, KvCas, check_linearizable
from phalanx.lab.load import LEDGER, Record, Records, percentile
from phalanx.lab.processes import is_full
from phalanx.model.clock import MILLISECOND
from phalanx.model.history import Operation, Outcome
from phalanx.model.view import Member
from phalanx.node.status import GroupStatus, Status

OK, FAIL, INFO = Outcome.OK, Outcome.FAIL, Outcome.INFO


def write(end: int, key: str = "key", outcome: Outcome = OK, home: str = "a", f: str = "put") -> Record:
    """Of the value "v"; milliseconds."""
    done = None if outcome is INFO else end * MILLISECOND
    return Record(home, Operation(0, f, key, "v", None, outcome, (end - 1) * MILLISECOND, done))


def records(*all_: Record) -> Records:
    found = Records()
    for record in all_:
        found.add(record)
    return found


def gaps(found: Records, since: int, until: int, homes: set[str] | None = None) -> list[int]:
    return [gap // MILLISECOND for gap in found.gaps(since * MILLISECOND, until * MILLISECOND, homes)]


def test_gaps_run_from_the_last_success_before_the_window_to_its_end() -> None:
    found = records(write(1), write(8), write(15), write(40), write(70))
    assert gaps(found, 10, 60) == [7, 25, 20]
    assert found.longest_gap(10 * MILLISECOND, 60 * MILLISECOND) == 25 * MILLISECOND
    assert gaps(records(), 10, 60) == [50]


def test_only_successful_writes_of_the_clients_asked_for_end_a_gap() -> None:
    found = records(
        write(20, outcome=FAIL), write(25, outcome=INFO), write(30, f="get"), write(35, home="b"), write(50)
    )
    assert gaps(found, 10, 60) == [25, 15, 10]
    assert gaps(found, 10, 60, {"b"}) == [25, 25]
    assert gaps(found, 10, 60, {"c"}) == [50]


def test_an_acknowledged_write_that_is_not_there_is_lost_and_one_of_unknown_outcome_is_not() -> None:
    found = records(write(1, f"{LEDGER}1"), write(2, f"{LEDGER}2"), write(3, f"{LEDGER}3", INFO), write(4, "shared"))
    assert found.acknowledged() == 2
    assert found.lost({f"{LEDGER}1": "v", f"{LEDGER}2": "v"}) == []
    assert found.lost({f"{LEDGER}1": "v"}) == [f"{LEDGER}2"]
    assert found.lost({f"{LEDGER}1": "v", f"{LEDGER}2": "another"}) == [f"{LEDGER}2"]


def test_a_refused_write_that_is_there_is_a_phantom() -> None:
    found = records(write(1, f"{LEDGER}1", FAIL), write(2, f"{LEDGER}2", INFO))
    assert found.phantoms({f"{LEDGER}2": "v"}) == []
    assert found.phantoms({f"{LEDGER}1": "v"}) == [f"{LEDGER}1"]


def test_a_history_with_a_lost_write_is_not_linearizable_either() -> None:
    final = Operation("final", "get", "key", None, None, OK, 9 * MILLISECOND, 10 * MILLISECOND)
    found = records(write(1), Record("", final))
    assert check_linearizable(found.operations, KvCas()).answer is Answer.VIOLATION


def test_rates_count_successes_by_tenths_of_a_second() -> None:
    found = records(write(110), write(190, f="get"), write(150, outcome=FAIL), write(205))
    assert found.rates(400 * MILLISECOND, 4) == [0, 2, 1, 0]


def test_latencies_are_of_successes_since_a_time() -> None:
    found = records(write(5), write(20), write(21, outcome=FAIL), write(22, outcome=INFO), write(30))
    assert found.latencies(10 * MILLISECOND) == [MILLISECOND, MILLISECOND]


def test_a_percentile_is_the_least_value_that_covers_its_share() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([], 0.5) == 0


def status(view: int = 3, state: str = "member", learner: bool = False, synced: bool = True) -> Status:
    members = (Member("a", "x:1", 1), Member("b", "x:2", 1))
    learners = (Member("c", "x:3", 1),) if learner else ()
    group = GroupStatus("KV", 7, "total", ("a", "b"), (), "host", synced, 0)
    return Status("a", "x:1", 1, state, "c0ffee", view, members, learners, (), 0, True, (group,))


def test_a_cluster_is_whole_only_if_all_agree_are_members_and_have_the_state() -> None:
    assert is_full({"a": status(), "b": status(), "c": None}, 2)
    assert not is_full({"a": status(), "b": None}, 2)
    assert not is_full({"a": status(), "b": status(view=4)}, 2)
    assert not is_full({"a": status(), "b": status(state="fenced")}, 2)
    assert not is_full({"a": status(learner=True), "b": status(learner=True)}, 2)
    assert not is_full({"a": status(), "b": status(synced=False)}, 2)
    assert not is_full({"a": status(), "b": status(), "c": status()}, 3)
