"""Heisenbugs: states that spoil with age, and restarting one member at a time before too many have.

Question: in each member of a group something goes wrong after a while, and nothing tells. Votes mask it as long as most
members are sound. How often are votes wrong if nobody is ever restarted, and if the members are restarted in turn? What
if they are restarted all at once, or by a clock that does not look whether the last one is back?

Method: three servers of a troupe of the product, in the simulator. In each life a server's state spoils after a time
drawn from an exponential distribution with mean 1/λ; a client votes on their answers five times a second. The product's
rolling restart, with a pause between members, or a clock, or nobody restarts them. What was drawn is compared with what
was voted, call by call; and both with the formulas.

Source: Huang, Kintala, Kolettis, Fulton, "Software Rejuvenation: Analysis, Module and Applications" (1995); Gray 1985 for
Heisenbugs; Lyons and Vanderkulk 1962 for votes.

Expected: a vote is right exactly if more than half of the hosts are sound. A server of age a is spoiled with probability
1 - exp(-λa); restarted each T, in a share 1 - (1 - exp(-λT))/λT of its time; never restarted, it is so for ever. With the
ages that the servers had, votes are right as often as the sum over all sets of sound servers says. The rolling restart
never takes a second host away, however long a restart takes, so no call is left without an answer; a clock does if
restarts take longer than its interval; and to restart all at once leaves calls unanswered each time.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from phalanx.calls.requests import Finish
from phalanx.lab.experiments.result import Cell, Claim, Result, Table, equal, near
from phalanx.lab.figures.model import Lines, Series
from phalanx.lab.textbook.aging import SERVERS, Aged, Plan, Policy, Vote, age

REJUVENATION = "Huang et al. 1995"
VOTING = "Lyons and Vanderkulk 1962"

MEAN_S = 8.0
PERIOD_S = 2.4
DOWN_S = 0.2
SLOW_S = 1.2
"""A restart that takes longer than the clock's interval between two members."""


class Case(NamedTuple):
    """One policy."""

    name: str
    plan: Plan


def cases(length_s: float) -> tuple[Case, ...]:
    """All of them, each for so long."""

    def case(name: str, policy: Policy, down_s: float = DOWN_S) -> Case:
        return Case(name, Plan(policy, MEAN_S, PERIOD_S, down_s, length_s))

    return (
        case("nobody", Policy.NONE),
        case("rolling", Policy.ROLLING),
        case("rolling, slow", Policy.ROLLING, SLOW_S),
        case("by the clock", Policy.BY_CLOCK),
        case("by the clock, slow", Policy.BY_CLOCK, SLOW_S),
        case("all at once", Policy.AT_ONCE),
    )


def run(full: bool) -> Result:
    """See the module's text."""
    found = {case.name: age(case.plan) for case in cases(600.0 if full else 30.0)}
    return Result(
        tables=(policy_table(found),),
        figures={"heisenbugs-votes": time_figure(found)},
        claims=(*vote_claims(found), *age_claims(found), *restart_claims(found)),
    )


Found = dict[str, Aged]


def policy_table(found: Found) -> Table:
    """One row for each policy."""
    columns = ("restarts", "how many", "calls", "right", "wrong", "no majority", "no answer", "spoiled", "down at once")
    rows: list[tuple[Cell, ...]] = []
    for name, aged in found.items():
        kinds = [kind_of(vote) for vote in aged.votes]
        counts = [kinds.count(kind) for kind in ("right", "wrong", "no majority", "no answer")]
        rows.append((name, aged.restarts, len(kinds), *counts, aged.spoiled, aged.most_down))
    title = (
        f"Votes of three servers that spoil after {MEAN_S:g} s on average; each is restarted about every {PERIOD_S:g} s"
    )
    return Table(title, columns, tuple(rows))


def kind_of(vote: Vote) -> str:
    """How a call ended."""
    if vote.finish is Finish.DONE:
        return "right" if vote.right else "wrong"
    return "no majority" if vote.finish is Finish.DIVIDED else "no answer"


# --- votes --------------------------------------------------------------------------------------------------------


def chance_of_right(vote: Vote) -> float:
    """That more than half of the hosts are sound, given their ages: the sum over all sets of sound ones."""
    sound = [math.exp(-each / MEAN_S) for each in vote.ages_s]
    return sum(
        math.prod(p if is_sound else 1 - p for p, is_sound in zip(sound, which, strict=True))
        for which in itertools.product((True, False), repeat=len(sound))
        if 2 * sum(which) > vote.hosts
    )


def vote_claims(found: Found) -> Iterator[Claim]:
    """Exactly, and by chance."""
    for name, aged in found.items():
        whole = [vote for vote in aged.votes if len(vote.ages_s) == vote.hosts > 0]
        wrong = [vote for vote in whole if vote.right is not (2 * (vote.hosts - vote.spoiled) > vote.hosts)]
        yield equal(f"{name}: a vote is right exactly if more than half of the hosts are sound", VOTING, [], wrong)
    aged = found["rolling"]
    whole = [vote for vote in aged.votes if len(vote.ages_s) == vote.hosts > 0]
    expected = sum(map(chance_of_right, whole)) / len(whole)
    yield near(
        "rolling: votes are right as often as the ages of the hosts say",
        REJUVENATION,
        expected,
        sum(vote.right for vote in whole) / len(whole),
        4 * math.sqrt(expected * (1 - expected) / aged.restarts),  # from one restart to the next votes are much alike
    )


# --- ages ---------------------------------------------------------------------------------------------------------


def share_spoiled(period_s: float) -> float:
    """Of a life of that length."""
    return 1 - (1 - math.exp(-period_s / MEAN_S)) * MEAN_S / period_s


def deviation_spoiled(period_s: float) -> float:
    """Of that share, from life to life: its second moment is 1 - 2/λT times its mean."""
    mean = share_spoiled(period_s)
    return math.sqrt(1 - 2 * mean * MEAN_S / period_s - mean**2)


def age_claims(found: Found) -> Iterator[Claim]:
    """How much of their lives the servers are spoiled."""
    for name in ("rolling", "by the clock"):
        aged = found[name]
        lives = aged.restarts + len(SERVERS)
        period_s = aged.plan.length_s * len(SERVERS) / lives
        yield near(
            f"{name}: servers are spoiled for 1 - (1 - exp(-λT))/λT of the time",
            REJUVENATION,
            share_spoiled(period_s),
            aged.spoiled,
            4 * deviation_spoiled(period_s) / math.sqrt(lives),
        )
    never = found["nobody"]
    kinds = [vote.right for vote in never.votes]
    yield equal("nobody: once a vote is wrong, none is right again", REJUVENATION, sum(kinds), kinds.index(False))
    shares = [sum(vote.right for vote in found[name].votes) for name in ("nobody", "rolling")]
    yield equal("rolling: more votes are right than without restarts", REJUVENATION, True, shares[0] < shares[1])


# --- restarts -----------------------------------------------------------------------------------------------------


def restart_claims(found: Found) -> Iterator[Claim]:
    """What restarts cost."""
    unanswered = {name: sum(kind_of(vote) == "no answer" for vote in aged.votes) for name, aged in found.items()}
    for name in ("rolling", "rolling, slow"):
        yield equal(
            f"{name}: one host is away at most, and every call is answered",
            "the product's rolling restart",
            (1, 0, ""),
            (found[name].most_down, unanswered[name], found[name].stopped),
        )
    yield equal(
        "by the clock, slow: more than one host is away at a time",
        REJUVENATION,
        True,
        found["by the clock, slow"].most_down > 1,
    )
    yield equal("all at once: calls are left unanswered", REJUVENATION, True, unanswered["all at once"] > 0)


def time_figure(found: Found) -> Lines:
    """Votes that were not right, summed up over time."""
    series = []
    for hue, name in enumerate(("nobody", "rolling", "rolling, slow", "by the clock, slow", "all at once")):
        series.append(Series(name, tuple(_sums(found[name].votes)), hue=hue))
    title = "Votes that were wrong, had no majority, or no answer, so far"
    return Lines(title, "seconds", "votes", tuple(series))


def _sums(votes: Sequence[Vote]) -> Iterator[tuple[float, float]]:
    """At every second."""
    for second in range(math.ceil(max(vote.at_s for vote in votes)) + 1):
        yield second, sum(not vote.right for vote in votes if vote.at_s < second)
