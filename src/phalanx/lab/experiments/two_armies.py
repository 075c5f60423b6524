"""Two armies: no number of acknowledgements suffices, and what probability buys.

Question: two generals win only together, and any of their messengers may be caught. Can they agree to attack?

Method: generals run as machines in lock step, and every message arrives or is lost. For handshakes of up to some length
all rules of decision are tried: a general has nothing to go by but how many messages it got, so a rule is a set of
such numbers. With a chance that a messenger is caught, sums over all runs give exact probabilities.

Source: slides Principles of Reliable Communication (Piper), Agreement and the Two-Army Problem; Gray 1978; Varghese and
Lynch 1992 for random keys, Lynch 1996, section 5.2.

Expected: the only rules under which the generals always do the same are to attack in any case, and never: from run to run
with one message less, one general sees no difference. With loss p, one attacks alone with probability p (1-p)^(k-1)
after a handshake of k messages, p^n after n copies of the order. If not chance but an enemy decides who is caught,
r rounds and a random key bring it down to 1/r, and if nobody is caught they attack.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

from phalanx.lab.exhaustive import Choices, every
from phalanx.lab.experiments.result import Cell, Claim, Result, Table, equal
from phalanx.lab.figures.model import Arrow, Lines, Messages, Remark, Series, Tone
from phalanx.lab.textbook.armies import FIRST, SECOND, Copies, General, Handshake, Levels, campaign
from phalanx.lab.textbook.rounds import Letter
from phalanx.model.view import Name

PIPER = "Piper, Agreement (or Consensus)"
LYNCH = "Lynch 1996, section 5.2"

LOSSES = (Fraction(1, 100), Fraction(1, 10), Fraction(1, 2))
TENTH = Fraction(1, 10)


class Rules(NamedTuple):
    """All rules of decision for handshakes of one length."""

    length: int
    tried: int
    agree: int
    """Under which both generals do the same in every run."""
    useful: int
    """Of these: they attack if nothing is lost, and the second not without an order."""


class Alone(NamedTuple):
    """In which runs exactly one general attacks: how many, by messages that arrived and that were lost."""

    size: int
    runs: dict[tuple[int, int], int]

    def chance(self, loss: Fraction) -> Fraction:
        """The probability of those runs."""
        terms = (count * (1 - loss) ** came * loss**lost for (came, lost), count in self.runs.items())
        return sum(terms, Fraction(0))


class Enemy(NamedTuple):
    """Random keys against an enemy that chooses which messages are lost."""

    rounds: int
    patterns: int
    worst: Fraction
    """The most likely that one attacks alone, over all patterns of loss."""
    sure: Fraction
    """How likely they attack if nothing is lost."""


def run(full: bool) -> Result:
    """See the module's text."""
    lengths = range(1, 11 if full else 7)
    rules = [try_rules(length) for length in lengths]
    handshakes = [alone(length, sure_handshake(length)) for length in lengths]
    copies = [alone(n, lambda me, n=n: Copies(me, n)) for n in lengths]  # type: ignore[misc]  # mypy sees no type for the default
    worst = [enemy(rounds) for rounds in range(1, 7 if full else 5)]
    return Result(
        tables=(rule_table(rules), chance_table(handshakes, copies), enemy_table(worst)),
        figures={"armies-last-message": last_message(4), "armies-chances": chance_figure(handshakes, copies, worst)},
        claims=(*rule_claims(rules), *chance_claims(handshakes, copies), *enemy_claims(worst)),
    )


# --- execution ----------------------------------------------------------------------------------------------------


def got_at_most(me: Name, length: int) -> int:
    """How many messages of a handshake a general can get."""
    return length // 2 if me == FIRST else (length + 1) // 2


def sure_handshake(length: int) -> Callable[[Name], General]:
    """Attack if all messages have come that could."""
    return lambda me: Handshake(me, length, frozenset({got_at_most(me, length)}))


def runs_of(make: Callable[[Name], General]) -> Iterator[tuple[bool, bool, int, int]]:
    """Every run: whether each attacks, how many messages arrived, and how many were lost."""

    def once(choices: Choices) -> tuple[bool, bool, int, int]:
        lost = 0

        def arrives(_: Letter) -> bool:
            nonlocal lost
            arrived = choices.pick((True, False))
            lost += not arrived
            return arrived

        first, second, sent = campaign((make(FIRST), make(SECOND)), arrives)
        return first, second, sent - lost, lost

    return every(once)


def try_rules(length: int) -> Rules:
    """All pairs of sets of numbers."""
    counts = [range(got_at_most(me, length) + 1) for me in (FIRST, SECOND)]
    sets = [[frozenset(s) for n in range(len(c) + 1) for s in itertools.combinations(c, n)] for c in counts]
    tried = agree = useful = 0
    for at_first, at_second in itertools.product(*sets):
        rules = {FIRST: at_first, SECOND: at_second}
        outcomes = list(runs_of(lambda me, rules=rules: Handshake(me, length, rules[me])))  # type: ignore[misc]  # as above
        tried += 1
        if all(first == second for first, second, _, _ in outcomes):
            agree += 1
            unheard = any(second for _, second, came, _ in outcomes if came == 0)
            useful += not unheard and any(first for first, _, _, lost in outcomes if lost == 0)
    return Rules(length, tried, agree, useful)


def alone(size: int, make: Callable[[Name], General]) -> Alone:
    """In which runs one attacks alone."""
    return Alone(size, Counter((came, lost) for first, second, came, lost in runs_of(make) if first != second))


def enemy(rounds: int) -> Enemy:
    """Every pattern of loss; under each, every key is as likely."""
    slots = [(number, me) for number in range(rounds) for me in (FIRST, SECOND)]
    worst = sure = Fraction(0)
    patterns = 0
    for caught in itertools.chain.from_iterable(itertools.combinations(slots, n) for n in range(len(slots) + 1)):
        attacks = [under_enemy(rounds, key, frozenset(caught)) for key in range(1, rounds + 1)]
        worst = max(worst, Fraction(sum(first != second for first, second in attacks), rounds))
        if not caught:
            sure = Fraction(sum(first and second for first, second in attacks), rounds)
        patterns += 1
    return Enemy(rounds, patterns, worst, sure)


def under_enemy(rounds: int, key: int, caught: frozenset[tuple[int, Name]]) -> tuple[bool, bool]:
    """One run with that key, in which those messages are caught: each by its round and its sender."""
    sent: Counter[Name] = Counter()

    def arrives(letter: Letter) -> bool:
        sent[letter.source] += 1
        return (sent[letter.source] - 1, letter.source) not in caught

    first, second, _ = campaign((Levels(FIRST, rounds, key), Levels(SECOND, rounds, None)), arrives)
    return first, second


# --- tables, figures, claims --------------------------------------------------------------------------------------


def rule_table(rules: list[Rules]) -> Table:
    """One row for each length of the handshake."""
    columns = ("messages", "rules tried", "always do the same", "and attack if all arrives, not without an order")
    return Table("All rules of decision for a handshake", columns, tuple(rules))


def rule_claims(rules: list[Rules]) -> Iterator[Claim]:
    """Nothing but the two rules that look at nothing."""
    yield equal(
        "under two rules only, always and never, the generals do the same in every run",
        PIPER,
        [2] * len(rules),
        [r.agree for r in rules],
    )
    yield equal("no number of acknowledgements suffices", PIPER, [0] * len(rules), [r.useful for r in rules])


def chance_table(handshakes: list[Alone], copies: list[Alone]) -> Table:
    """One general attacks alone, by chance."""
    columns = ("messages", *(f"{kind}, p = {float(p):g}" for kind in ("handshake", "copies") for p in LOSSES))
    rows: list[tuple[Cell, ...]] = [
        (one.size, *(float(kind.chance(p)) for kind in (one, other) for p in LOSSES))
        for one, other in zip(handshakes, copies, strict=True)
    ]
    return Table("One general attacks alone, if each message is lost with probability p", columns, tuple(rows))


def chance_claims(handshakes: list[Alone], copies: list[Alone]) -> Iterator[Claim]:
    """The closed forms."""
    points = [(a.size, p) for a in handshakes for p in LOSSES]
    formulas = {"p (1-p)^(k-1)": [p * (1 - p) ** (k - 1) for k, p in points], "p^n": [p**n for n, p in points]}
    for (formula, expected), found in zip(formulas.items(), (handshakes, copies), strict=True):
        what = "a handshake of k messages" if found is handshakes else "n copies of the order"
        values = [a.chance(p) for a in found for p in LOSSES]
        yield equal(
            f"{what}: one attacks alone with probability {formula}", "arithmetic", _text(expected), _text(values)
        )


def _text(values: list[Fraction]) -> str:
    return " ".join(map(str, values))


def enemy_table(worst: list[Enemy]) -> Table:
    """Random keys."""
    rows = tuple((e.rounds, e.patterns, float(e.worst), float(e.sure)) for e in worst)
    columns = ("rounds", "patterns of loss", "one attacks alone, at worst", "both attack if nothing is lost")
    return Table("A random key, and an enemy that chooses which messages are lost", columns, rows)


def enemy_claims(worst: list[Enemy]) -> Iterator[Claim]:
    """1/r."""
    expected = [Fraction(1, e.rounds) for e in worst]
    yield equal(
        "r rounds and a random key: at worst one attacks alone with probability 1/r",
        LYNCH,
        _text(expected),
        _text([e.worst for e in worst]),
    )
    yield equal("and if nothing is lost they attack", LYNCH, [Fraction(1)] * len(worst), [e.sure for e in worst])


def last_message(length: int) -> Messages:
    """A handshake whose last message is lost, as it ran."""
    events: list[Arrow | Remark] = []

    def arrives(letter: Letter) -> bool:
        number: int = letter.message.number
        text = "attack at dawn" if number == 1 else " of ".join(["ack"] * min(number - 1, 3))
        events.append(Arrow(letter.source, letter.target, text, lost=number == length))
        return number < length

    make = sure_handshake(length)
    attacks = campaign((make(FIRST), make(SECOND)), arrives)
    for name, attack in zip((FIRST, SECOND), attacks, strict=False):
        events.append(Remark(name, "attacks" if attack else "stays", Tone.BAD if attack else Tone.PLAIN))
    return Messages(f"A handshake of {length} messages, the last of which is lost", (FIRST, SECOND), tuple(events))


def chance_figure(handshakes: list[Alone], copies: list[Alone], worst: list[Enemy]) -> Lines:
    """What more messages buy."""
    series = []
    for hue, (name, found) in enumerate((("handshake", handshakes), ("copies of the order", copies))):
        points = tuple((float(a.size), float(a.chance(TENTH))) for a in found)
        series.append(Series(f"{name}, p = 0.1, executed", points, True, hue))
        curve = (
            (n, TENTH * (1 - TENTH) ** (n - 1) if found is handshakes else TENTH**n) for n in (a.size for a in found)
        )
        series.append(Series(f"{name}, formula", tuple((float(n), float(y)) for n, y in curve), False, hue))
    keys = tuple((float(2 * e.rounds), float(e.worst)) for e in worst)
    series.append(Series("random key, against an enemy, executed", keys, True, 2))
    series.append(Series("1/r", tuple((x, 2 / x) for x, _ in keys), False, 2))
    return Lines("One general attacks alone", "messages", "probability", tuple(series), log_y=True)
