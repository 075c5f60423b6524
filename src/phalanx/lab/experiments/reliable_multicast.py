"""Reliable multicast over an unreliable one: what receivers have to say, and how many of them say it.

Question: a message goes to a thousand receivers at the price of one datagram. If it may be lost, somebody has to tell the
source. How much does that cost?

Method: a source and up to a thousand receivers in the simulator, all as far from each other. Four ways: positive
acknowledgements; negative ones to the source; negative ones by multicast after a wait drawn uniformly, given up by
whoever hears another's (SRM); and the product's multicast channel, whose waits are drawn from a distribution that grows
exponentially. First a message is lost on its way out, so that all lack it, and the source counts what it is told. Then
each copy is lost at each receiver with probability p, and copies and acknowledgements are counted. (Control messages are
not lost, as in the analyses.)

Source: slides Principles of Reliable Communication (Piper), Reliable Multicast with Unreliable Multicast; Towsley,
Kurose, Pingali 1997 for both kinds of acknowledgements; Floyd et al. 1997, section IV, for SRM; Nonnenmacher and
Biersack 1999 and RFC 5401 for exponential waits.

Expected: n positive acknowledgements for each message, lost or not; n negative ones for each that all lack: the feedback
implodes. If requests are heard by the others after the share d of the interval, waits drawn uniformly leave
1 + n d - d^n of them, still in proportion to n (SRM has 1 + (n - 1) d, and adapts d). Exponential ones leave about
(e n)^d, which is 3 for a thousand. With losses p at each, a message takes the sum over k >= 0 of 1 - (1 - p^k)^n copies;
each copy has n (1 - p) positive acknowledgements, and each message n p / (1 - p) negative ones.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from phalanx.lab.experiments.result import Claim, Result, Table, equal, near
from phalanx.lab.figures.model import Lines, Series
from phalanx.lab.textbook.feedback import DELAY_NS, INTERVAL_NS, Way
from phalanx.lab.textbook.implosion import Round, by_product, by_textbook

PIPER = "Piper, Reliable Multicast with Unreliable Multicast"
TOWSLEY = "Towsley, Kurose, Pingali 1997"
SRM = "Floyd et al. 1997, section IV"
EXPONENTIAL = "Nonnenmacher and Biersack 1999, section IV"
PRODUCT = "the product: exponential waits"

SIZES = (10, 30, 100, 300, 1_000)
SHARE = DELAY_NS / INTERVAL_NS
"""Of the interval, in which a request comes to the others."""

ROUNDS = {10: 40, 30: 20, 100: 10, 300: 4, 1_000: 2}
"""Messages that all lack, by the number of receivers: in a large group each takes a while to simulate."""
UNIFORM_MAX = 300
"""Receivers with uniform waits in the short form: a thousand take five seconds for each message."""

LOSSES = (0.05, 0.2)
GROUPS = (1, 10, 50)


class Measured(NamedTuple):
    """One way with so many receivers."""

    way: str
    receivers: int
    rounds: list[Round]

    @property
    def heard(self) -> float:
        """What receivers said, on average."""
        return sum(each.heard for each in self.rounds) / len(self.rounds)

    @property
    def sent(self) -> float:
        """Copies, on average."""
        return sum(each.sent for each in self.rounds) / len(self.rounds)


def run(full: bool) -> Result:
    """See the module's text."""
    times = 10 if full else 1
    common = [*implosions(times, max(SIZES) if full else UNIFORM_MAX)]
    single = {(p, n): losses(p, n, 1_000 if full else 100) for p in LOSSES for n in GROUPS}
    return Result(
        tables=(common_table(common), loss_table(single)),
        figures={"multicast-implosion": implosion_figure(common), "multicast-copies": copy_figure(single)},
        claims=(*implosion_claims(common), largest_claim(common), *loss_claims(single)),
    )


# --- a message that all lack --------------------------------------------------------------------------------------


def implosions(times: int, uniform_max: int) -> Iterator[Measured]:
    """Every way, with every number of receivers."""
    for receivers in SIZES:
        rounds = times * ROUNDS[receivers]
        for way in (Way.POSITIVE, Way.NEGATIVE):
            yield Measured(way.value, receivers, by_textbook(way, receivers, 2, loss=None))
        if receivers <= uniform_max:
            yield Measured(Way.UNIFORM.value, receivers, by_textbook(Way.UNIFORM, receivers, rounds, loss=None))
        yield Measured(PRODUCT, receivers, by_product(receivers, rounds))


def expected(way: str, receivers: int) -> float:
    """What the analyses say."""
    if way == Way.UNIFORM:
        return uniform_requests(receivers)
    return expected_requests(receivers, SHARE, receivers) if way == PRODUCT else float(receivers)


def expected_requests(receivers: int, share: float, assumed: int) -> float:
    """How many of `receivers` ask, on average, if all notice at once and a request is heard by the others after `share`
    of the interval; `assumed` is the number that they take themselves for.

    Receiver i asks if none of the others had asked `share` before its own delay t: n times the integral of f(t) times
    (1 - F(t - share))^(n - 1), where F(t) = (e^(g t) - 1) / (e^g - 1) on [0, 1] and g = ln `assumed` + 1.  Since
    f(t + share) = e^(g share) f(t), that is n F(share) + e^(g share) (1 - (1 - F(1 - share))^n).
    """
    growth = math.log(assumed) + 1

    def below(t: float) -> float:
        return math.expm1(growth * min(1.0, t)) / math.expm1(growth)

    if share >= 1:
        return float(receivers)
    return receivers * below(share) + math.exp(growth * share) * (1 - (1 - below(1 - share)) ** receivers)


def uniform_requests(receivers: int) -> float:
    """Receiver i asks if no other's wait ends `SHARE` before its own: n times the integral over [0, 1] of
    (1 - max(0, t - d))^(n - 1)."""
    return 1 + receivers * SHARE - SHARE**receivers


def common_table(common: list[Measured]) -> Table:
    """Measured beside expected."""
    rows = tuple(
        (each.way, each.receivers, len(each.rounds), each.heard, expected(each.way, each.receivers)) for each in common
    )
    return Table(
        "What the source is told about one message", ("way", "receivers", "messages", "told", "expected"), rows
    )


def implosion_claims(common: list[Measured]) -> Iterator[Claim]:
    """Implosion, and what is left of it."""
    for kind, text in (
        (Way.POSITIVE, "each receiver acknowledges each message"),
        (Way.NEGATIVE, "each lacks it, and says so"),
    ):
        some = [each for each in common if each.way == kind.value]
        told = [each.heard for each in some]
        yield equal(f"{kind.value}: {text}, so there are n", PIPER, [float(each.receivers) for each in some], told)
    for way, source in ((Way.UNIFORM.value, SRM), (PRODUCT, EXPONENTIAL)):
        for each in (measured for measured in common if measured.way == way):
            mean = expected(way, each.receivers)
            yield near(
                f"{way}: {each.receivers} receivers make {mean:.3g} requests",
                source,
                mean,
                each.heard,
                margin(each, mean),
            )
    yield equal(
        "and one copy more repairs it for all, whoever asks",
        PIPER,
        {2.0},
        {each.sent for each in common if each.way != Way.POSITIVE.value},
    )


def largest_claim(common: list[Measured]) -> Claim:
    """A thousand complaints, or a few."""
    largest = {each.way: each.heard for each in common if each.receivers == max(SIZES)}
    return equal(
        "of a thousand receivers that lack the same, the product has fewer than a hundredth ask",
        EXPONENTIAL,
        True,
        largest[PRODUCT] < largest[Way.NEGATIVE.value] / 100,
    )


def margin(each: Measured, mean: float) -> float:
    """Four deviations of the average: uniform requests are nearly independent of each other, exponential ones vary as
    much as their mean."""
    deviation = math.sqrt(mean + 1) if each.way == Way.UNIFORM.value else mean
    return 4 * deviation / math.sqrt(len(each.rounds))


def implosion_figure(common: list[Measured]) -> Lines:
    """Against the number of receivers."""
    series = []
    for hue, way in enumerate((Way.NEGATIVE.value, Way.UNIFORM.value, PRODUCT)):
        formula = tuple((float(n), expected(way, n)) for n in SIZES)
        found = tuple((float(each.receivers), each.heard) for each in common if each.way == way)
        series += [Series(f"{way}: formula", formula, hue=hue), Series(f"{way}: measured", found, True, hue)]
    title = "Requests for a message that all receivers lack"
    return Lines(title, "receivers", "requests", tuple(series), log_y=True, log_x=True)


# --- losses at each -----------------------------------------------------------------------------------------------


class Losing(NamedTuple):
    """Both kinds of acknowledgements, with losses at each receiver."""

    positive: Measured
    negative: Measured


def losses(p: float, receivers: int, count: int) -> Losing:
    """So many messages."""
    made = [
        Measured(way.value, receivers, by_textbook(way, receivers, count, loss=p))
        for way in (Way.POSITIVE, Way.NEGATIVE)
    ]
    return Losing(*made)


def copies(p: float, receivers: int) -> tuple[float, float]:
    """Mean and deviation of the copies of a message: the probability that it takes more than k is 1 - (1 - p^k)^n."""
    more = [1 - (1 - p**k) ** receivers for k in range(200)]
    mean = sum(more)
    return mean, math.sqrt(sum((2 * k + 1) * chance for k, chance in enumerate(more)) - mean**2)


def loss_table(single: dict[tuple[float, int], Losing]) -> Table:
    """Measured beside expected."""
    columns = ("p", "n", "copies", "expected", "positive", "expected", "negative", "expected")
    rows = []
    for (p, n), each in single.items():
        mean, _ = copies(p, n)
        said = (each.positive.heard, n * (1 - p) * mean, each.negative.heard, n * p / (1 - p))
        rows.append((p, n, each.positive.sent, mean, *said))
    return Table("Copies and acknowledgements of a message, if each copy is lost at each with p", columns, tuple(rows))


def loss_claims(single: dict[tuple[float, int], Losing]) -> Iterator[Claim]:
    """Within four deviations."""
    for (p, n), each in single.items():
        mean, deviation = copies(p, n)
        count = math.sqrt(len(each.positive.rounds))
        where = f"{n} receiver{'s' * (n > 1)}, p = {p}"
        for measured in each:
            text = f"{where}: a message takes {mean:.3g} copies with {measured.way}"
            yield near(text, TOWSLEY, mean, measured.sent, 4 * deviation / count + 1e-9)
        yield near(
            f"{where}: positive acknowledgements are n (1 - p) for each copy",
            TOWSLEY,
            n * (1 - p) * mean,
            each.positive.heard,
            4 * n * (deviation + math.sqrt(p / n)) / count,
        )
        yield near(
            f"{where}: negative ones are n p / (1 - p)",
            TOWSLEY,
            n * p / (1 - p),
            each.negative.heard,
            4 * math.sqrt(n * p) / (1 - p) / count,
        )


def copy_figure(single: dict[tuple[float, int], Losing]) -> Lines:
    """Against the number of receivers."""
    series = []
    for hue, p in enumerate(LOSSES):
        formula = tuple((float(n), copies(p, n)[0]) for n in range(1, max(GROUPS) + 1))
        found = tuple((float(n), each.negative.sent) for (loss, n), each in single.items() if loss == p)
        series += [Series(f"p = {p}: formula", formula, hue=hue), Series(f"p = {p}: measured", found, True, hue)]
    return Lines("Copies of a message until all have one", "receivers", "copies", tuple(series))
