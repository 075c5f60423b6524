"""RPC semantics: what a client can know, and how often a request is executed.

Question: a request or a reply is lost, or the server crashes before or after it has done what it was asked. Which
strategies of client and server execute a request once?

Method: real clients and servers in the simulated network. The print server crashes after each number of its actions, with
each strategy; what is on paper is counted. Then calls on an account, with each remedy, while each of the first
transmissions that reach the server meets each fate: it arrives, it is lost, its reply is lost, or the server crashes
before or after executing it. The last remedy is the product's own: a session on a replicated object of three nodes.

Source: slides L-15 Fault Tolerance, Lost Messages, Server Crashes (1) to (6); slides Principles of Reliable
Communication (Piper), Acks, Idempotency, Sequencing; Birrell and Nelson 1984; docs/objects.md for sessions.

Expected: the table of Server Crashes (6), cell by cell, so no pair of strategies is right in all cases. Sending once
executes at most once; sending until there is a reply, at least once, which is as good as once if the request is
idempotent. Numbers execute once as long as the server remembers them: in memory not across a crash, on its disk always.
Sessions always, unless all nodes crash at once. A server that was never there has not done anything, and the client
knows it.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from phalanx.lab.exhaustive import Choices, every
from phalanx.lab.experiments.result import Cell, Claim, Result, Table, equal
from phalanx.lab.figures.model import Matrix, Tone
from phalanx.lab.textbook.printing import PACE_NS, PrintClient, PrintServer, Reissue
from phalanx.lab.textbook.remedies import AMOUNT, REMEDIES, Fate, Fates, Outcome, Remedy, call
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.machine import Machine, Output
from phalanx.replication.calls import End
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

SLIDE = "L-15, Server Crashes (6)"

PUBLISHED_COLUMNS = "MPC MC(P) C(MP) PMC PC(M) C(PM)"
PUBLISHED = {
    Reissue.ALWAYS: "DUP OK OK DUP DUP OK",
    Reissue.NEVER: "OK ZERO ZERO OK OK ZERO",
    Reissue.ACKED: "DUP OK ZERO DUP OK ZERO",
    Reissue.NOT_ACKED: "OK ZERO OK OK DUP OK",
}
"""The slide's table: what is expected, and used for nothing else."""

WORDS = {0: "ZERO", 1: "OK"}
"""By copies on paper; more are DUP."""


class Printing(NamedTuple):
    """One run of the print server."""

    reissue: Reissue
    column: str
    """What the server had done when it crashed, and had not, as the slide writes it."""
    copies: int

    @property
    def word(self) -> str:
        return WORDS.get(self.copies, "DUP")


def run(full: bool) -> Result:
    """See the module's text."""
    cells = list(every(print_once))
    length = 3 if full else 2
    found = {
        remedy: {fates: call(remedy, fates) for fates in itertools.product(Fate, repeat=length)} for remedy in REMEDIES
    }
    absent = {remedy: call(remedy, None) for remedy in REMEDIES}
    total = {nodes: call(REMEDIES[-1], (Fate.CRASH_AFTER,) * nodes) for nodes in (1, 2, 3)}
    return Result(
        tables=(crash_table(cells), fate_table(found, absent), bounds_table(found)),
        figures={"rpc-crashes": crash_figure(cells), "rpc-remedies": fate_figure(found, absent)},
        claims=(*crash_claims(cells), *remedy_claims(found), absent_claim(absent), loss_claim(total)),
    )


# --- the print server ---------------------------------------------------------------------------------------------


def print_once(choices: Choices) -> Printing:
    """One text is to be printed.  The server crashes between two of its actions, and comes back."""
    actions, crash_after = choices.pick(("MP", "PM")), choices.pick((2, 1, 0))
    reissue = choices.pick(tuple(Reissue))
    copies = 0
    column = ""

    def start(setup: Setup) -> Machine:
        if setup.name == "server":
            return PrintServer(actions, ["client"], recovered=setup.life > 1)
        return PrintClient("server", "a text", reissue)

    def deliver(_: Node, __: object) -> None:
        nonlocal copies
        copies += 1

    def after_step(node: Node, _: Output) -> None:
        server = node.machine
        if not column and isinstance(server, PrintServer) and server.accepted and len(server.taken) == crash_after:
            world.schedule(PACE_NS // 2, crash, server)

    def crash(server: PrintServer) -> None:
        nonlocal column
        rest = actions[len(server.taken) :]
        column = f"{server.taken}C({rest})" if rest else f"{server.taken}C"
        world.crash("server")
        world.schedule(100 * MILLISECOND, world.start, "server")

    world = World(1, start, deliver=deliver, after_step=after_step)
    world.add("server")
    world.run_for(SECOND)
    world.add("client")
    world.run_for(SECOND)
    assert not world.failures, world.failures
    return Printing(reissue, column, copies)


def _columns(cells: list[Printing]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.column for cell in cells))


def _row(cells: list[Printing], reissue: Reissue) -> list[str]:
    """One word for each column."""
    mine = [cell for cell in cells if cell.reissue is reissue]
    return ["/".join(dict.fromkeys(c.word for c in mine if c.column == column)) for column in _columns(cells)]


def crash_table(cells: list[Printing]) -> Table:
    """As the slide has it."""
    rows = tuple((reissue.value, *_row(cells, reissue)) for reissue in Reissue)
    return Table("How often the text is printed if the server crashes (C)", ("reissue", *_columns(cells)), rows)


def crash_claims(cells: list[Printing]) -> Iterator[Claim]:
    """The slide's table, row by row, and what follows from it."""
    orders = " ".join(_columns(cells))
    yield equal("the six orders of M, P and C", "L-15, Server Crashes (4)", PUBLISHED_COLUMNS, orders)
    for reissue in Reissue:
        yield equal(f"reissue: {reissue.value}", SLIDE, PUBLISHED[reissue], " ".join(_row(cells, reissue)))
    right = [
        f"{reissue.value} with {actions}"
        for reissue in Reissue
        for actions in ("MP", "PM")
        if all(
            cell.copies == 1
            for cell in cells
            if cell.reissue is reissue and "".join(c for c in cell.column if c in "MP") == actions
        )
    ]
    yield equal("no pair of strategies prints once in every case", SLIDE, [], right)


def crash_figure(cells: list[Printing]) -> Matrix:
    """The table, coloured."""
    tones = {"OK": Tone.GOOD, "DUP": Tone.BAD, "ZERO": Tone.DOUBTFUL}
    rows = tuple(
        (reissue.value, tuple((word, tones.get(word, Tone.PLAIN)) for word in _row(cells, reissue)))
        for reissue in Reissue
    )
    return Matrix("Printing once: reissue strategy against the point of the crash", _columns(cells), rows)


# --- remedies -----------------------------------------------------------------------------------------------------

Found = dict[Remedy, dict[Fates, Outcome]]


def _first(outcomes: dict[Fates, Outcome], fate: Fate) -> Outcome:
    """If only the first transmission meets with something."""
    return next(
        outcome
        for fates, outcome in outcomes.items()
        if fates[0] is fate and all(later is Fate.ARRIVES for later in fates[1:])
    )


def _said(outcome: Outcome) -> str:
    return f"{outcome.executed}x, {outcome.told.value if outcome.told else 'nothing'}"


def fate_table(found: Found, absent: dict[Remedy, Outcome]) -> Table:
    """How often it is executed and what the client is told, by the fate of the first transmission."""
    rows: list[tuple[Cell, ...]] = [
        (remedy.name, *(_said(_first(outcomes, fate)) for fate in Fate), _said(absent[remedy]))
        for remedy, outcomes in found.items()
    ]
    columns = ("remedy", *(fate.value for fate in Fate), "no server")
    return Table("Executions, and what the client is told", columns, tuple(rows))


def fate_figure(found: Found, absent: dict[Remedy, Outcome]) -> Matrix:
    """The same, coloured by whether the balance is right and the client told the truth."""
    rows = []
    for remedy, outcomes in found.items():
        mine = [*(_first(outcomes, fate) for fate in Fate), absent[remedy]]
        rows.append((remedy.name, tuple((_said(outcome), _tone(outcome)) for outcome in mine)))
    columns = (*(fate.value for fate in Fate), "no server")
    return Matrix("Executions, and what the client is told, by what happens to its first request", columns, tuple(rows))


def _tone(outcome: Outcome) -> Tone:
    if outcome.told is End.UNKNOWN or outcome.told is None:
        return Tone.DOUBTFUL
    return Tone.GOOD if outcome.balance == (AMOUNT if outcome.told is End.DONE else 0) else Tone.BAD


def bounds_table(found: Found) -> Table:
    """Over all sequences of fates."""
    rows = tuple(
        (remedy.name, len(outcomes), _range(o.executed for o in outcomes.values()), _effects(outcomes), _told(outcomes))
        for remedy, outcomes in found.items()
    )
    columns = ("remedy", "sequences of fates", "executions", "effects", "the client is told")
    return Table("Over all fates of the first transmissions", columns, rows)


def _range(numbers: Iterator[int]) -> str:
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _effects(outcomes: dict[Fates, Outcome]) -> str:
    return _range(int(o.effects) for o in outcomes.values())


def _told(outcomes: dict[Fates, Outcome]) -> str:
    return ", ".join(sorted({o.told.value if o.told else "nothing" for o in outcomes.values()}))


def remedy_claims(found: Found) -> Iterator[Claim]:
    """What each remedy is worth."""
    length = len(next(iter(next(iter(found.values())))))
    expected = {
        "send once": ("0 to 1", "done, unknown", "L-15, Server Crashes (2): at-most-once"),
        "send until replied": (f"1 to {length + 1}", "done", "L-15, Server Crashes (2): at-least-once"),
        "... and idempotent": ("1", "done", "Piper, Idempotency"),
        "numbers, in memory": (f"1 to {length + 1}", "done", "Piper, Sequencing: state that a crash must not lose"),
        "numbers, on disk": ("1", "done", "Piper, Sequencing; Birrell and Nelson 1984"),
        "sessions, replicated": ("1", "done", "docs/objects.md, Exactly once"),
    }
    for remedy, all_outcomes in found.items():
        outcomes = {fates: outcome for fates, outcome in all_outcomes.items() if not outcome.lost}
        effects, told, source = expected[remedy.name]
        yield equal(
            f"{remedy.name}: effects {effects}, the client is told: {told}",
            source,
            f"{effects}; {told}",
            f"{_effects(outcomes)}; {_told(outcomes)}",
        )
    (memory,) = (outcomes for remedy, outcomes in found.items() if remedy.name == "numbers, in memory")
    wrong = {fates for fates, outcome in memory.items() if outcome.executed != 1}
    yield equal(
        "numbers in memory fail if the server forgets what it has executed, and only then",
        "Piper, Sequencing",
        sorted(fates for fates in memory if _forgets(fates)),
        sorted(wrong),
    )


def _forgets(fates: Fates) -> bool:
    """A request is executed, and the server crashes before its reply is received: the next is executed again."""
    executed = False
    for fate in (*fates, Fate.ARRIVES):
        if fate in (Fate.CRASH_BEFORE, Fate.CRASH_AFTER) and (executed or fate is Fate.CRASH_AFTER):
            return True
        if fate is Fate.ARRIVES:
            return False
        executed = executed or fate is Fate.REPLY_LOST
    return False


def loss_claim(total: dict[int, Outcome]) -> Claim:
    """Sessions are in the memories of the nodes: what all of them have forgotten at once, nobody knows."""
    return equal(
        "sessions are lost if all three nodes crash at once, not if two do, and the client is told that it is unknown",
        "docs/objects.md, Exactly once",
        [(False, End.DONE), (False, End.DONE), (True, End.UNKNOWN)],
        [(outcome.lost, outcome.told) for outcome in total.values()],
    )


def absent_claim(absent: dict[Remedy, Outcome]) -> Claim:
    """The server cannot be found: nothing bad has happened, and the client knows."""
    told = sorted({_said(outcome) for outcome in absent.values()})
    return equal(
        "no server: nothing has happened, and the client is told so", "Piper, Acks", ["0x, not happened"], told
    )
