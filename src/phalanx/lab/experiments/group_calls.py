"""Group calls: troupes that call troupes, how many answers to wait for, and how not to be drowned in them.

Question: every member of a group of N clients makes a call, and every member of a group of M servers executes it: how
often is it executed, whoever fails? How long does it take if a server falls silent, and the caller waits for all answers,
for k, for a majority, for the first, or for equal ones? How many messages come at once?

Method: the product's own nodes, in the simulator. N clients make one joint call; one of the nodes crashes after each
number of messages that it receives. Then one client calls five servers, of which one falls silent before or after it was
given the call. Then every set of five servers lies. Last, the product's group calls alone, with up to 1,000 hosts.

Source: Cooper, "Replicated Distributed Programs" (1985), Circus; Birman and Joseph 1987 for replies; Birman, Isis2, for
aggregation up a tree; Lyons and Vanderkulk 1962 for votes; docs/troupes.md.

Expected: N copies come to the servers, each of which executes once, and N M answers go back, so each client that lives
is answered by each server that lives. All answers take as long as it takes to detect a failure; k, a majority and the
first do not wait for it. In total order nothing is delivered while a host of the group is silent, so there a failure
before the call delays all of them alike. A vote of n bears less than n/2 liars. With a tree of fanout f nobody receives
more than f answers, where a caller would get n, and they travel as many steps further as the tree is deep.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from phalanx.calls.requests import Finish, Rule, Want
from phalanx.calls.tree import depth
from phalanx.lab.experiments.result import Cell, Claim, Result, Table, equal
from phalanx.lab.figures.model import Bars, Lines, Series
from phalanx.lab.textbook.explosion import Explosion, explode
from phalanx.lab.textbook.troupes import DOUBLE, TIMING, WORK_NS, Fall, Stage
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.view import Name, Order

CIRCUS = "Cooper 1985"
REPLIES = "Birman and Joseph 1987, section on group RPC"
ISIS2 = "Birman, Isis2, aggregation"
VOTING = "Lyons and Vanderkulk 1962"

SERVERS = tuple(f"s{number}" for number in range(1, 6))
NUMBER = 21
WANTS = {
    "the first": Want(Rule.SOME, 1),
    "two": Want(Rule.SOME, 2),
    "majority": Want(Rule.MAJORITY),
    "voted": Want(Rule.VOTED),
    "all": Want(),
}
FALLS_MAX = 100
"""Messages of one call to one node: more than this is another protocol."""

AT_ONCE_NS = WORK_NS + 10 * MILLISECOND
"""A call that waits for nobody who failed takes no longer: the work, and some messages."""


HEARD_NS = TIMING.heartbeat
"""So long ago somebody was heard last, at most, when it stops."""


class Joint(NamedTuple):
    """One joint call.  `fall`: who crashed; None: nobody."""

    clients: int
    servers: int
    fall: Fall | None
    executions: dict[Name, int]
    """By server that lives: how often the call was executed there."""
    copies: int
    answers: int
    told: dict[Name, tuple[Finish, int]]
    """By client that lives: how it ended, and the number of answers."""


class Timed(NamedTuple):
    """One call, with one server that falls silent."""

    order: Order
    when: str
    want: str
    latency_ns: int
    finish: Finish


class Vote(NamedTuple):
    """One call of five servers, of which these lie."""

    liars: frozenset[Name]
    finish: Finish
    result: int | None
    """What won; None if nothing did."""


def run(full: bool) -> Result:
    """See the module's text."""
    sizes = tuple(itertools.product((1, 2, 3, 5) if full else (1, 2, 3), repeat=2))
    joint = [call_jointly(clients, servers, None) for clients, servers in sizes]
    falls = [*fall_of("s1", 2, 3), *fall_of("c1", 2, 3), *(fall_of("s2", 3, 3) if full else ())]
    timed = [
        time_call(order, when, want)
        for order in (Order.FIFO, Order.TOTAL)
        for when in ("nobody", "before", "after")
        for want in WANTS
    ]
    votes = list(lie())
    hosts = (10, 30, 100, 300, 1000) if full else (10, 100, 300)
    explosions = [explode(size, fanout) for size in hosts for fanout in (0, 2, 8)]
    return Result(
        tables=(joint_table(joint), fall_table(falls), time_table(timed), vote_table(votes), tree_table(explosions)),
        figures={"calls-latency": time_figure(timed), "calls-explosion": tree_figure(explosions)},
        claims=(
            *joint_claims(joint, falls),
            *time_claims(timed),
            *vote_claims(votes),
            *tree_claims(explosions),
        ),
    )


# --- troupes call troupes -----------------------------------------------------------------------------------------


def call_jointly(clients: int, servers: int, fall: Fall | None) -> Joint:
    """Every client makes the same call, at the same time."""
    stage = Stage(SERVERS[:servers], [f"c{number}" for number in range(1, clients + 1)], Order.TOTAL, fall)
    before = stage.copies.total(), stage.answers.total()
    for client in stage.clients:
        stage.call(client, NUMBER, Want(), joint=("clients", 1))
    stage.run_until_told([name for name in stage.clients if fall is None or name != fall.name])
    stage.fall = None
    stage.world.run_for(SECOND)
    assert not stage.world.failures, stage.world.failures
    gone = {fall.name} if fall is not None and stage.fallen else set()
    executions = {name: 0 for name in stage.servers if name not in gone}
    for (name, _), count in stage.executions.items():
        if name not in gone:
            executions[name] += count
    told = {
        name: (ends[0].end.finish, sum(value == 2 * NUMBER for value in ends[0].values))
        for name, ends in stage.ended.items()
        if name not in gone and ends
    }
    copies, answers = stage.copies.total() - before[0], stage.answers.total() - before[1]
    return Joint(clients, servers, fall if gone else None, executions, copies, answers, told)


def fall_of(name: Name, clients: int, servers: int) -> Iterator[Joint]:
    """That node crashes after each number of messages, until the call is over first."""
    for after in range(FALLS_MAX):
        joint = call_jointly(clients, servers, Fall(name, after))
        if joint.fall is None:
            return
        yield joint
    raise AssertionError(f"{name} gets more and more messages")


def joint_table(joint: Sequence[Joint]) -> Table:
    """Without failures."""
    columns = ("clients N", "servers M", "copies", "executions at each server", "answers", "N M")
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (j.clients, j.servers, j.copies, _range(j.executions.values()), j.answers, j.clients * j.servers) for j in joint
    )
    return Table("Every client makes the same call", columns, rows)


def fall_table(falls: Sequence[Joint]) -> Table:
    """Where a node crashes."""
    rows = []
    for j in falls:
        assert j.fall is not None
        answers = _range(count for _, count in j.told.values())
        row = (j.clients, j.servers, j.fall.name, j.fall.after, _range(j.executions.values()), len(j.told), answers)
        rows.append(row)
    columns = (
        "N",
        "M",
        "crashes",
        "after messages",
        "executions at each server left",
        "clients answered",
        "answers to each",
    )
    return Table("N clients make the same call of M servers, and one of all these crashes", columns, tuple(rows))


def _range(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return " to ".join(map(str, dict.fromkeys((found[0], found[-1])))) if found else "none"


def joint_claims(joint: Sequence[Joint], falls: Sequence[Joint]) -> Iterator[Claim]:
    """Once, whoever fails."""
    counts = [(j.clients, j.servers) for j in joint]
    yield equal("the call comes N times", CIRCUS, [n for n, _ in counts], [j.copies for j in joint])
    yield equal(
        "every server executes it once", CIRCUS, [[1] * m for _, m in counts], [[*j.executions.values()] for j in joint]
    )
    yield equal("N M answers go back", CIRCUS, [n * m for n, m in counts], [j.answers for j in joint])
    yield equal(
        "whoever crashes, and whenever: every server that lives executes it once",
        CIRCUS,
        [],
        [j.fall for j in falls if set(j.executions.values()) != {1}],
    )
    wrong = [
        j.fall
        for j in falls
        if len(j.told) != j.clients - (j.fall is not None and j.fall.name.startswith("c"))
        or any(finish is not Finish.DONE or count < len(j.executions) for finish, count in j.told.values())
    ]
    yield equal("and every client that lives is answered by every server that lives", CIRCUS, [], wrong)


# --- a server falls silent ----------------------------------------------------------------------------------------


def time_call(order: Order, when: str, want: str) -> Timed:
    """One client calls five servers; the last of them stops before it hears of the call, or when it is given it."""
    stage = Stage(SERVERS, ["c1"], order)
    silent = SERVERS[-1]
    if when == "before":
        stage.world.pause(silent)
    elif when == "after":
        stage.silent_after = silent
    stage.call("c1", NUMBER, WANTS[want])
    stage.run_until_told(["c1"])
    (ended,) = stage.ended["c1"]
    return Timed(order, when, want, ended.latency_ns, ended.end.finish)


def time_table(timed: Sequence[Timed]) -> Table:
    """One row for each order and moment."""
    rows: list[tuple[Cell, ...]] = [
        (f"{order.value}, {when}", *(t.latency_ns / MILLISECOND for t in some))
        for (order, when), some in itertools.groupby(timed, lambda t: (t.order, t.when))
    ]
    return Table("Milliseconds of a call of five servers, by who falls silent when", ("", *WANTS), tuple(rows))


def time_claims(timed: Sequence[Timed]) -> Iterator[Claim]:
    """Waiting for detection, or not."""
    yield equal("every call ends with the answers that it waits for", REPLIES, {Finish.DONE}, {t.finish for t in timed})
    for when, texts in (("nobody", "nobody fails"), ("after", "a server fails that has the call")):
        some = [t for t in timed if t.when == when and (when == "nobody" or t.want != "all")]
        slow = [t for t in some if t.latency_ns > AT_ONCE_NS]
        what = "no call waits" if when == "nobody" else "only all answers wait for its detection"
        yield equal(f"{texts}: {what}", REPLIES, [], slow)
    fifo = [t for t in timed if t.when == "before" and t.order is Order.FIFO and t.want != "all"]
    yield equal(
        "FIFO, a server fails before: only all answers wait for its detection",
        REPLIES,
        [],
        [t for t in fifo if t.latency_ns > AT_ONCE_NS],
    )
    late = [t for t in timed if (t.when, t.want) == ("after", "all")]
    yield equal(
        "a server fails that has the call: all answers wait until it is suspected",
        "docs/protocols/failure-detection.md",
        [],
        [t for t in late if not TIMING.suspect_after - HEARD_NS <= t.latency_ns <= 2 * TIMING.suspect_after],
    )
    lags = [t for t in timed if t.when == "before" and (t.order is Order.TOTAL or t.want == "all")]
    yield equal(
        "a server fails before: all answers, and in total order all calls, wait until it is found to hold others up",
        "docs/protocols/failure-detection.md",
        [],
        [t for t in lags if not TIMING.demote_after <= t.latency_ns <= TIMING.suspect_after],
    )


def time_figure(timed: Sequence[Timed]) -> Bars:
    """A group of bars for each rule."""
    kinds = [("fifo", "before"), ("fifo", "after"), ("total", "before"), ("total", "after")]
    found = {(t.order.value, t.when, t.want): round(t.latency_ns / MILLISECOND, -1) for t in timed}
    groups = tuple((want, tuple(found[order, when, want] for order, when in kinds)) for want in WANTS)
    names = tuple(f"{order}, {when} it has the call" for order, when in kinds)
    return Bars("How long a call takes if one of five servers falls silent", "milliseconds", names, groups)


# --- servers that lie ---------------------------------------------------------------------------------------------


def lie() -> Iterator[Vote]:
    """Every set of liars, who all tell the same lie."""
    stage = Stage(SERVERS, ["c1"], Order.TOTAL)
    calls = 0
    for count in range(len(SERVERS) + 1):
        for liars in itertools.combinations(SERVERS, count):
            stage.liars = frozenset(liars)
            calls += 1
            stage.call("c1", NUMBER, Want(Rule.VOTED))
            stage.run_until_told(["c1"], calls)
            stage.world.run_for(SECOND // 10)
            ended = stage.ended["c1"][-1]
            won = [value for value in ended.values if 2 * ended.values.count(value) > len(SERVERS)]
            yield Vote(stage.liars, ended.end.finish, won[0] if won else None)


def vote_table(votes: Sequence[Vote]) -> Table:
    """By the number of liars."""
    rows = tuple(
        (count, len(some := [v for v in votes if len(v.liars) == count]), sum(v.result == 2 * NUMBER for v in some))
        for count in range(len(SERVERS) + 1)
    )
    return Table("A vote of five", ("liars", "sets of them", "the vote is right"), rows)


def vote_claims(votes: Sequence[Vote]) -> Iterator[Claim]:
    """More than half of them must be right."""
    n = len(SERVERS)
    yield equal(
        "the vote is right as long as less than half of the servers lie",
        VOTING,
        [2 * len(v.liars) < n for v in votes],
        [v.result == 2 * NUMBER for v in votes],
    )


# --- the explosion of replies -------------------------------------------------------------------------------------


def tree_table(explosions: Sequence[Explosion]) -> Table:
    """One row for each size and shape."""
    columns = ("hosts", "fanout", "messages with answers", "most at one node", "at the caller", "steps")
    rows = tuple((e.size, e.fanout or "none", e.answers, e.most, e.at_caller, e.steps) for e in explosions)
    return Table("Answers of a large troupe", columns, rows)


def tree_claims(explosions: Sequence[Explosion]) -> Iterator[Claim]:
    """As many messages, but not at one place."""
    yield equal(
        "one answer for each host, tree or not", ISIS2, [e.size for e in explosions], [e.answers for e in explosions]
    )
    yield equal(
        "without a tree all of them come to the caller; with one nobody gets more than its fanout",
        ISIS2,
        [min(e.fanout or e.size, e.size) for e in explosions],
        [e.most for e in explosions],
    )
    yield equal(
        "they take a step for each level of the tree, and one to the caller",
        ISIS2,
        [depth(e.size, e.fanout) + 1 if e.fanout else 1 for e in explosions],
        [e.steps for e in explosions],
    )
    wrong = [e[:2] for e in explosions if not _is_right(e)]
    yield equal("and they hold the results of all", ISIS2, [], wrong)


def _is_right(explosion: Explosion) -> bool:
    end = explosion.end
    if not explosion.fanout:
        return [DOUBLE.result(outcome) for _, outcome in end.answers] == [2 * NUMBER] * explosion.size
    return not end.answers and end.combined == explosion.size and DOUBLE.fold([end.value]) == DOUBLE.outcome(2 * NUMBER)


def tree_figure(explosions: Sequence[Explosion]) -> Lines:
    """The most that one node receives, against the size."""
    series = []
    for hue, fanout in enumerate((0, 8, 2)):
        points = tuple((float(e.size), float(e.most)) for e in explosions if e.fanout == fanout)
        series.append(Series(f"a tree of fanout {fanout}" if fanout else "each answers the caller", points, hue=hue))
    title = "The reply explosion: answers that come to one node"
    return Lines(title, "hosts", "messages", tuple(series), log_y=True, log_x=True)
