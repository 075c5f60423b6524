"""Schedulers of an asynchronous system: one that keeps a decision open for ever, all of them, and one by chance.

What happens next is the scheduler's choice: which message arrives, and who suspects whom.  No message is lost; no
process has a clock.  A configuration is *bivalent* if two ways to go on lead to different decisions, both of which were
gone here.  (What is found bivalent is so.  What is not may be so nevertheless: not every way is tried.)

Fischer, Lynch, Paterson, "Impossibility of Distributed Consensus with One Faulty Process" (JACM 1985): the adversary is
the construction of Theorem 1.  It goes through the processes in turn, and has each receive the oldest message that is on
its way to it; before that it lets other things happen, in a way after which the configuration is bivalent still, which
Lemma 3 says there is.  So no process fails, and no message is withheld for ever.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple

from phalanx.lab.textbook.consensus import Rotating, Suspects
from phalanx.lab.textbook.rounds import Letter, addressed
from phalanx.model.clock import Instant
from phalanx.model.machine import Received
from phalanx.model.view import Name

NOW = Instant(0, 0)
"""Nobody looks at it."""

WAY_MAX = 500
"""Events of one way to a decision: more than this is a way that leads nowhere."""

SEARCH_MAX = 200
"""Configurations that the adversary looks at before it gives up a stage.  Of three processes it finds the next bivalent
one among the first few; of five it takes up to some thousand."""

CHANCE_MAX = 100_000
"""Events of a run by chance: more than this is so unlikely that it is something else."""

SURVEY_MAX = 100_000
"""Configurations of one exhaustive search."""

LENGTH_MAX = 200
"""Events of one of its schedules: more than this is one that goes on for ever."""


class Doubt(NamedTuple):
    """The detector of `at` says that it suspects `of`."""

    at: Name
    of: Name


Event = Letter | Doubt


class Accuracy(NamedTuple):
    """What the detectors may say from now on.  Nobody who is in `trusted` is suspected; whoever is in `crashed` takes no
    step, and is suspected unless it is trusted."""

    trusted: frozenset[Name] = frozenset()
    crashed: frozenset[Name] = frozenset()


ANYTHING = Accuracy()
"""No detector, in effect: to suspect is to guess."""


class Configuration:
    """All processes, and the letters that are on their way, the oldest first.  A value: it does not change."""

    __slots__ = ("letters", "machines")

    def __init__(self, machines: Mapping[Name, Rotating], letters: tuple[Letter, ...]) -> None:
        self.machines = machines
        self.letters = letters

    def key(self) -> Hashable:
        """Equal for configurations with the same future."""
        letters = frozenset(letter for letter in self.letters if self._matters(letter))
        return tuple(machine.key() for machine in self.machines.values()), letters

    def _matters(self, letter: Letter) -> bool:
        return self.machines[letter.target].heeds(letter.message)

    @property
    def decisions(self) -> set[int]:
        """What has been decided."""
        return {machine.decided for machine in self.machines.values() if machine.decided is not None}

    @property
    def round(self) -> int:
        """The highest in which a process is."""
        return max(machine.round for machine in self.machines.values())

    def enabled(self, accuracy: Accuracy) -> Iterator[Event]:
        """What can happen next and makes a difference."""
        running = {name: machine for name, machine in self.machines.items() if name not in accuracy.crashed}
        yield from (letter for letter in self.letters if letter.target in running and self._matters(letter))
        for name, machine in running.items():
            of = machine.waits_for
            if of is not None and of not in accuracy.trusted:
                yield Doubt(name, of)

    def after(self, event: Event) -> "Configuration":
        """The configuration once that has happened."""
        happened: Suspects | Received
        if isinstance(event, Doubt):
            name, happened = event.at, Suspects(frozenset({event.of}))
        else:
            name, happened = event.target, Received(event.source, event.message)
        letters = tuple(letter for letter in self.letters if letter != event)
        machine = self.machines[name].fork()
        output = machine.step([happened], NOW)
        return Configuration({**self.machines, name: machine}, letters + tuple(addressed(name, output.sends)))


def begin(machines: Iterable[Rotating]) -> Configuration:
    """All have taken their first step."""
    started = {machine.me: machine for machine in machines}
    letters: list[Letter] = []
    for name, machine in started.items():
        letters += addressed(name, machine.step([], NOW).sends)
    return Configuration(started, tuple(letters))


# --- valence ------------------------------------------------------------------------------------------------------


class Way(NamedTuple):
    """A way to go on.  `quiet`: what this process sends and is sent waits until nothing else can happen, and it is
    suspected at once, or, if `heard`, once what it has sent so far has arrived.  `passed`: for so many rounds all
    coordinators are suspected at once."""

    quiet: Name | None
    heard: bool
    passed: int


def ways(names: Iterable[Name]) -> Iterator[Way]:
    """Those that are tried."""
    names = tuple(names)
    for passed in range(len(names)):
        yield Way(None, True, passed)
        for quiet in names:
            yield Way(quiet, False, passed)
            yield Way(quiet, True, passed)


def follow(configuration: Configuration, way: Way, accuracy: Accuracy) -> int | None:
    """What is decided first on that way; None: nothing."""
    upto = configuration.round + way.passed
    for _ in range(WAY_MAX):
        if configuration.decisions:
            return min(configuration.decisions)
        event = min(configuration.enabled(accuracy), key=_urgency(configuration, way, upto), default=None)
        if event is None:
            return None
        configuration = configuration.after(event)
    return None


def _urgency(configuration: Configuration, way: Way, upto: int) -> Callable[[Event], int]:
    def urgency(event: Event) -> int:
        if isinstance(event, Doubt):
            passed = configuration.machines[event.at].round < upto
            return 0 if passed and event.at != way.quiet else 2 if event.of == way.quiet else 5
        if way.quiet == event.target:
            return 4
        if way.quiet == event.source:
            return 1 if way.heard else 4
        return 1

    return urgency


class Oracle:
    """Finds configurations bivalent, and remembers."""

    def __init__(self, accuracy: Accuracy) -> None:
        self.accuracy = accuracy
        self._known: dict[Hashable, frozenset[int]] = {}

    def outcomes(self, configuration: Configuration) -> frozenset[int]:
        """Decisions to which ways lead from here: as many as were found, two at most."""
        key = configuration.key()
        known = self._known.get(key)
        if known is None:
            found: set[int] = set()
            for way in ways(configuration.machines):
                value = follow(configuration, way, self.accuracy)
                found |= set() if value is None else {value}
                if len(found) == 2:
                    break
            known = self._known[key] = frozenset(found)
        return known

    def is_bivalent(self, configuration: Configuration) -> bool:
        """Nothing is decided, and two ways lead to different decisions."""
        return not configuration.decisions and len(self.outcomes(configuration)) == 2


# --- the adversary ------------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """What the adversary has happen until one process has received its oldest message: that is the last event."""

    events: tuple[Event, ...]
    after: Configuration
    log_chance: float
    """Natural logarithm of the probability that a scheduler by chance does the same.  Arrivals that make no difference
    count for nothing: they may come at any time."""


class Adversary:
    """Goes from one bivalent configuration to the next, as far as detectors let it."""

    def __init__(
        self, configuration: Configuration, accuracy: Accuracy = ANYTHING, search_max: int = SEARCH_MAX
    ) -> None:
        self._search_max = search_max
        self.configuration = configuration
        self._oracle = Oracle(accuracy)
        self._turns = deque(configuration.machines)

    def stage(self) -> Stage | None:
        """The next one; None: no way was found to keep it bivalent.  A process to which nothing is on its way takes a
        step in which nothing happens."""
        for _ in range(len(self._turns)):
            name = self._turns[0]
            self._turns.rotate(-1)
            oldest = next((letter for letter in self.configuration.letters if letter.target == name), None)
            if oldest is not None and name not in self._oracle.accuracy.crashed:
                found = self._search(oldest)
                if found is not None:
                    self.configuration = found.after
                return found
        return None

    def _search(self, last: Letter) -> Stage | None:
        start = self.configuration
        queue = deque([Stage((), start, 0.0)])
        seen = {start.key()}
        while queue and len(seen) < self._search_max:
            events, configuration, chance = queue.popleft()
            enabled = list(configuration.enabled(self._oracle.accuracy))
            after = configuration.after(last)
            if self._oracle.is_bivalent(after):
                return Stage((*events, last), after, chance - (math.log(len(enabled)) if last in enabled else 0))
            chance -= math.log(len(enabled) or 1)
            for event in enabled:
                if event == last or (following := configuration.after(event)).decisions:
                    continue
                if (key := following.key()) not in seen:
                    seen.add(key)
                    queue.append(Stage((*events, event), following, chance))
        return None


# --- all schedulers, and one by chance ----------------------------------------------------------------------------


class Survey(NamedTuple):
    """Every schedule from one configuration until somebody decides."""

    longest: int
    """Events of the longest schedule."""
    configurations: int
    """Different ones, before a decision."""
    decisions: frozenset[int]
    stuck: int
    """Configurations in which nothing is decided, and nothing can happen any more."""


def survey(configuration: Configuration, accuracy: Accuracy) -> Survey:
    """Try all schedules.  Raises OverflowError if there are too many configurations or too long ones, as there are if
    there is a schedule that goes on for ever without a decision."""
    longest_from: dict[Hashable, int] = {}
    decisions: set[int] = set()
    stuck = 0

    def longest(config: Configuration, depth: int) -> int:
        nonlocal stuck
        if config.decisions:
            decisions.update(config.decisions)
            return 0
        key = config.key()
        if (known := longest_from.get(key)) is not None:
            return known
        if depth > LENGTH_MAX or len(longest_from) > SURVEY_MAX:
            raise OverflowError(f"more than {LENGTH_MAX} events or {SURVEY_MAX} configurations without a decision")
        following = (config.after(event) for event in config.enabled(accuracy))
        lengths = [1 + longest(each, depth + 1) for each in following if each.key() != key]
        stuck += not lengths
        longest_from[key] = max(lengths, default=0)
        return longest_from[key]

    return Survey(longest(configuration, 0), len(longest_from), frozenset(decisions), stuck)


def by_chance(configuration: Configuration, rng: random.Random) -> tuple[int, frozenset[int]]:
    """Whatever can happen next is as likely: the round in which somebody decides first, and what all decide.  Raises
    OverflowError if that takes too long."""
    first = 0
    for _ in range(CHANCE_MAX):
        if configuration.decisions and not first:
            first = configuration.round
        enabled = list(configuration.enabled(ANYTHING))
        if not enabled:
            return first, frozenset(configuration.decisions)
        configuration = configuration.after(rng.choice(enabled))
    raise OverflowError(f"more than {CHANCE_MAX} events")
