"""State transfer, step by step: a process joins a group that has a state and goes on.

Question: a new member needs what the group has made so far, and everything after that, each message once. Nobody is to
stop for it, and whoever gives the state may fail in the middle. When does the newcomer have what the others have?

Method: the product's own machines in the simulator. Three members have a state, the list of all that they have delivered,
and P4 joins. A member multicasts after each single message of the join, one run for each, and after all of them, in every
order; what P4 ends with is compared with the others' states, and it is looked up how it came by the first such message.
Then the donor crashes after each number of chunks that it has given, in silence and under traffic.

Source: slides by Piper, Reliable Multicast and group membership; Birman and Joseph 1987;
docs/protocols/state-transfer.md.

Expected: P4 ends with the state of all others, whenever they multicast. There are three ways to it, and no gap between
them: what was delivered before the snapshot is in the state that P4 is given; what follows P4 has kept as a learner, and
delivers it on top; once it is a full host it delivers like everybody. A state of s bytes takes s / c chunks of c bytes,
rounded up, each asked for once. If the donor crashes another one goes on where it stopped, if its snapshot is the same,
and else starts over; P4 ends with the same.
"""

from collections.abc import Iterator

from phalanx.group.messages import Chunk, Commit, Fetch
from phalanx.lab.experiments.result import Claim, Result, Table, equal
from phalanx.lab.figures.model import Arrow, Bars, Messages, Remark, Tone
from phalanx.lab.textbook.transferring import ALWAYS, NEVER, Join, Turn, join
from phalanx.model.view import GroupSpec, Order

NAMES = ("P1", "P2", "P3", "P4")
WAYS = ("in the state", "as a learner", "as a member")
SPECS = {order.value: GroupSpec("log", order) for order in (Order.TOTAL, Order.FIFO, Order.CAUSAL)}
HISTORY = ("m1", "m2")
SIZES = (1, 10, 20, 40, 80)
PIECE = 64
LONG = tuple(f"m{number}" for number in range(150))
"""As many chunks of `PIECE` bytes as are not all under way at once."""
PROTOCOL = "docs/protocols/state-transfer.md"
ISIS = "Birman and Joseph 1987"


def run(full: bool) -> Result:
    """See the module's text."""
    seeds, stride = (20, 1) if full else (3, 2)
    orders = SPECS if full else {"total": SPECS["total"]}
    single = {kind: [*moments(spec)] for kind, spec in orders.items()}
    steady = {
        kind: [join(NAMES, spec, HISTORY, ALWAYS, seed=seed) for seed in range(1, seeds + 1)]
        for kind, spec in SPECS.items()
    }
    sizes = [transfer(count) for count in SIZES]
    last = len(transfer(len(LONG)).chunks)
    fallen = {traffic: [fall(after, traffic) for after in range(1, last, stride)] for traffic in (False, True)}
    return Result(
        tables=(way_table(single), size_table(sizes), fallen_table(fallen)),
        figures={
            "transfer-steps": step_figure(join(NAMES, SPECS["total"], HISTORY, range(20, 21))),
            "transfer-ways": way_figure(single),
        },
        claims=(*way_claims(single, steady), *size_claims(sizes), *fallen_claims(fallen)),
    )


def moments(spec: GroupSpec) -> Iterator[Join]:
    """A multicast after each number of messages, until the join is over before."""
    for moment in ALWAYS:
        made = join(NAMES, spec, HISTORY, range(moment, moment + 1))
        if not made.sent:
            return
        yield made


def transfer(count: int) -> Join:
    """Of a state of so many payloads, while nothing else happens."""
    return join(NAMES, SPECS["total"], LONG[:count], NEVER, chunk=PIECE)


def fall(after: int, traffic: bool) -> Join:
    """The donor crashes after so many chunks."""
    return join(NAMES, SPECS["total"], LONG, ALWAYS if traffic else NEVER, falls=after, chunk=PIECE)


# --- whenever a message is sent -----------------------------------------------------------------------------------


def _agree(made: Join) -> bool:
    """All are members, and have the same; nothing that was multicast is missing, and nothing is there twice."""
    (state, *others) = {tuple(sorted(state)) for state in made.states.values()}
    return made.joined and not others and len(state) == len(set(state)) and set(made.sent) <= set(state)


def way_table(single: dict[str, list[Join]]) -> Table:
    """How the message got to P4, by the moments at which it was sent."""
    rows = []
    for kind, runs in single.items():
        for way in WAYS:
            at = [moment for moment, made in enumerate(runs) if made.begun == way]
            rows.append((kind, way, len(at), _spans(at) or "never"))
    columns = ("order", "P4 has it", "moments", "messages of the join before")
    return Table("A message that is multicast while P4 joins", columns, tuple(rows))


def _spans(numbers: list[int]) -> str:
    """Numbers that follow each other, together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def way_figure(single: dict[str, list[Join]]) -> Bars:
    """The same."""
    groups = tuple(
        (kind, tuple(float(sum(made.begun == way for made in runs)) for way in WAYS)) for kind, runs in single.items()
    )
    return Bars("How P4 comes by a message that was multicast while it joined", "moments", WAYS, groups)


def way_claims(single: dict[str, list[Join]], steady: dict[str, list[Join]]) -> Iterator[Claim]:
    """No gap, and nothing twice."""
    for kind, runs in single.items():
        yield equal(
            f"{kind}: whenever a member multicasts, P4 has what all have, each once",
            ISIS,
            len(runs),
            sum(map(_agree, runs)),
        )
        yield equal(
            f"{kind}: there are three ways to it",
            PROTOCOL,
            sorted(WAYS),
            sorted({made.begun for made in runs}),
        )
    for kind, runs in steady.items():
        yield equal(f"{kind}: and if they multicast all the time", ISIS, len(runs), sum(map(_agree, runs)))
    both = [made for runs in steady.values() for made in runs]
    yield equal(
        "then a part is in the suffix, and a part comes later",
        PROTOCOL,
        True,
        all(made.taken < made.taken + len(made.learnt) < len(made.states["P4"]) for made in both),
    )
    yield equal(
        "and in some a part is in the state, besides the history",
        PROTOCOL,
        True,
        not both or any(len(HISTORY) < made.taken for made in both),
    )


# --- chunks -------------------------------------------------------------------------------------------------------


def size_table(sizes: list[Join]) -> Table:
    """By the size of the state."""
    columns = ("payloads", "bytes", "FETCH", "CHUNK", f"bytes / {PIECE}, rounded up")
    rows = tuple(
        (made.taken, _bytes(made), _fetches(made), len(made.chunks), -(-_bytes(made) // PIECE)) for made in sizes
    )
    return Table(f"Messages of a transfer in chunks of {PIECE} bytes", columns, rows)


def _bytes(made: Join) -> int:
    return made.chunks[0].total


def _fetches(made: Join) -> int:
    """Without those that were answered that it is being made."""
    bodies = [step.body for step in made.steps if not isinstance(step, Turn)]
    waits = sum(isinstance(body, Chunk) and not body.data for body in bodies)
    return sum(isinstance(body, Fetch) for body in bodies) - waits


def size_claims(sizes: list[Join]) -> Iterator[Claim]:
    """Closed form."""
    rounded = [-(-_bytes(made) // PIECE) for made in sizes]
    yield equal("s bytes take s / c chunks, rounded up", "arithmetic", rounded, [len(made.chunks) for made in sizes])
    yield equal("each is asked for once", PROTOCOL, rounded, [_fetches(made) for made in sizes])
    yield equal(
        "the state that is given is the state that was there",
        ISIS,
        [LONG[: len(made.states["P1"])] for made in sizes],
        [made.states["P4"] for made in sizes],
    )


# --- the donor crashes --------------------------------------------------------------------------------------------


def _restarts(made: Join) -> int:
    """How often a snapshot with another content was begun after the first."""
    digests = [chunk.digest for chunk in made.chunks]
    return len(set(digests)) - 1


def _again(made: Join) -> list[int]:
    """Which chunks came again."""
    offsets = [chunk.offset for chunk in made.chunks]
    return [offset for place, offset in enumerate(offsets) if offset in offsets[:place]]


def fallen_table(fallen: dict[bool, list[Join]]) -> Table:
    """Crashes with the same outcome, together."""
    rows: dict[tuple[str, str, str], list[int]] = {}
    for traffic, runs in fallen.items():
        for after, made in zip(_after(runs), runs, strict=True):
            donors = "another goes on" if len(set(made.donors)) > 1 else "all was under way"
            what = f"{donors}, from the start" if _restarts(made) else donors
            rows.setdefault(("traffic" if traffic else "silence", what, str(_agree(made))), []).append(after)
    columns = ("meanwhile", "then", "P4 has what all have", "crashes", "after chunks")
    told = tuple((*row, len(at), f"{min(at)} to {max(at)}") for row, at in rows.items())
    return Table("The donor crashes after so many chunks", columns, told)


def _after(runs: list[Join]) -> list[int]:
    return [
        next(place for place, donor in enumerate([*made.donors, ""], 1) if donor != made.donors[0]) for made in runs
    ]


def fallen_claims(fallen: dict[bool, list[Join]]) -> Iterator[Claim]:
    """Whenever it is."""
    runs = [made for each in fallen.values() for made in each]
    yield equal("the donor crashes in every run", "the run", len(runs), sum(made.fallen for made in runs))
    yield equal("whenever it does, P4 has what all have", PROTOCOL, len(runs), sum(map(_agree, runs)))
    yield equal(
        "in silence the next donor has the same snapshot: after its first chunk, which shows that, it goes on",
        PROTOCOL,
        [(0, [0])] * len(fallen[False]),
        [(_restarts(made), _again(made)) for made in fallen[False]],
    )
    yield equal("under traffic it starts over, at least once", PROTOCOL, True, any(map(_restarts, fallen[True])))


def step_figure(made: Join) -> Messages:
    """From P4's wish to its place."""
    events: list[Arrow | Remark] = []
    for step in made.steps:
        match step:
            case Turn(at, what):
                events.append(Remark(at, what, Tone.GOOD if at == "P4" else Tone.PLAIN))
            case _ if "P4" in (step.source, step.target) and not isinstance(step.body, Commit):
                events.append(Arrow(step.source, step.target, type(step.body).__name__.upper()))
            case _:
                pass
    return Messages("P4 joins: its own messages, and what all see", NAMES, tuple(events))
