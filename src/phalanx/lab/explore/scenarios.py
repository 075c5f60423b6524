"""What is explored: a group of three, what its members send, and what may go wrong."""

from typing import NamedTuple

from phalanx.group.config import Timing
from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.model.view import GroupSpec, Order

NAMES = ("a", "b", "c")
"""The members, eldest first."""

TIMING = Timing(
    heartbeat=200 * MILLISECOND,
    row_delay=0,
    suspect_after=2 * SECOND,
    demote_after=10 * SECOND,
    patience=100 * MILLISECOND,
    resend_after=100 * MILLISECOND,
    penalty=SECOND,
)
"""Time stands still while a scenario is explored, but for `ticks`, so only the order of these periods matters: a member
that goes from deadline to deadline tries again, then sends again, then shows that it lives, then suspects."""

TOTAL = GroupSpec("g", Order.TOTAL)
FIFO = GroupSpec("g", Order.FIFO)
CAUSAL = GroupSpec("g", Order.CAUSAL)


class Scenario(NamedTuple):
    """The bounds of one exploration.  Members are numbers: 0 is the eldest.

    In every order, at any time: links deliver their oldest message, or never; members send; and, as long as the bound
    is not used up, faults strike.
    """

    name: str
    spec: GroupSpec
    sends: tuple[int, int, int] = (0, 0, 0)
    """How many messages the application of each member multicasts."""
    crashes: int = 0
    victims: tuple[int, ...] = (0, 1, 2)
    """Who may crash.  That nobody listens at its address any more is evidence that each of the others gets, or not, at
    any later time."""
    restarts: int = 0
    """Crashed members that come back with their votes."""
    suspicions: tuple[tuple[int, int], ...] = ()
    """(who, whom): false evidence that may come, once; it is withdrawn as soon as its object is heard."""
    suspicions_max: int = 0
    losses: int = 0
    """PREPAREs that get lost."""
    ticks: int = 0
    """How often, all in all, a member's clock jumps to its next deadline."""
    tickers: tuple[int, ...] = (0, 1, 2)
    slow_disk: bool = False
    """Votes are durable at some time after the step that made them, and what waits for them leaves then; else at
    once, so that a crash comes before a step or after it."""


ANY_PAIR = tuple((p, q) for p in range(3) for q in range(3) if p != q)

SCENARIOS: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario("calm-total-order", TOTAL, sends=(1, 1, 0)),
        Scenario("one-crash-total-order", TOTAL, sends=(1, 1, 0), crashes=1),
        Scenario("one-crash-fifo", FIFO, sends=(1, 1, 0), crashes=1),
        Scenario("one-crash-causal", CAUSAL, sends=(1, 1, 0), crashes=1),
        Scenario("false-suspicion", TOTAL, sends=(1, 0, 0), suspicions=ANY_PAIR, suspicions_max=1),
        Scenario("duel", TOTAL, suspicions=((1, 0), (2, 0)), suspicions_max=2),
        Scenario("restart-of-a-voter", TOTAL, crashes=1, victims=(1,), restarts=1),
        Scenario("restart-votes", TOTAL, sends=(0, 0, 1), crashes=1, victims=(1,), restarts=1),
        Scenario("crash-of-the-coordinator", TOTAL, crashes=1, victims=(0,), suspicions=((0, 2),), suspicions_max=1),
        Scenario(
            "crash-at-every-point-of-commit",
            TOTAL,
            crashes=1,
            victims=(0,),
            suspicions=((0, 2),),
            suspicions_max=1,
            slow_disk=True,
        ),
        Scenario("lost-prepare", TOTAL, sends=(0, 0, 1), suspicions=((0, 2),), suspicions_max=1, losses=1),
        Scenario("impatience", TOTAL, suspicions=((0, 2),), suspicions_max=1, ticks=2, tickers=(0,)),
    )
}

SHORT: dict[str, Scenario] = {
    s.name: s
    for s in (
        SCENARIOS["calm-total-order"],
        Scenario("one-crash-total-order-1-message", TOTAL, sends=(1, 0, 0), crashes=1),
        Scenario("one-crash-fifo-1-message", FIFO, sends=(1, 0, 0), crashes=1),
        Scenario("false-suspicion-of-the-youngest", TOTAL, suspicions=((0, 2),), suspicions_max=1),
    )
}
"""The bounded subset for every check of a change: some seconds."""
