"""Consensus by a process group: each member multicasts its proposal, and the first that is delivered is decided.

In total order the first delivered is the same at all, so this is consensus (Chandra and Toueg 1996, section 7: atomic
broadcast and consensus are equivalent); what the group does about failures is all that there is to it.  In another
order it is not.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from phalanx.group.messages import Ack, Data, Row
from phalanx.lab.textbook.consensus import Rotating
from phalanx.lab.textbook.membership import Application, Members
from phalanx.lab.textbook.watchful import Watchful
from phalanx.model.clock import MICROSECOND, MILLISECOND, SECOND
from phalanx.model.events import Delivered
from phalanx.model.machine import Machine
from phalanx.model.view import GroupSpec, Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.node import Node, Setup
from phalanx.sim.world import World

PATIENCE_NS = 20 * SECOND
LIMIT_NS = 50 * MILLISECOND
"""Of the detector of Chandra and Toueg's processes."""


class Member:
    """The application at one member."""

    def __init__(self, decided: dict[Name, int], name: Name) -> None:
        self._decided = decided
        self._name = name

    def take(self, delivery: Any) -> Iterable[bytes]:
        """A delivery of the group: the first proposal is the decision."""
        if isinstance(delivery, Delivered) and self._name not in self._decided:
            self._decided[self._name] = int(bytes(delivery.payloads[0]))
        return ()


class Crash(NamedTuple):
    """A member crashes once it has received so many messages, counted from the first proposal on."""

    name: Name
    after: int


class Decision(NamedTuple):
    """One run."""

    proposals: tuple[int | None, ...]
    """By member; None: it proposes nothing."""
    crash: Crash | None
    crashed: bool
    decided: dict[Name, int]
    """By those that crashed, too."""
    alive: tuple[Name, ...]
    data: int
    """Messages with proposals, and ..."""
    shown: int
    """... acknowledgements and rows that arrived from the first proposal to the last decision."""

    @property
    def agrees(self) -> bool:
        """Nobody decides what another does not, or what nobody has proposed."""
        values = set(self.decided.values())
        return len(values) <= 1 and values <= set(self.proposals)

    @property
    def ends(self) -> bool:
        """All that live have decided, or nobody had proposed in the end."""
        return all(name in self.decided for name in self.alive)


def decide(
    spec: GroupSpec,
    names: Sequence[Name],
    proposals: Sequence[int | None],
    *,
    crash: Crash | None = None,
    seed: int = 1,
) -> Decision:
    """By a group of these members.  All propose within a tenth of a millisecond: messages take longer."""
    decided: dict[Name, int] = {}
    applications: dict[Name, Application] = {name: Member(decided, name) for name in names}
    received = data = shown = 0
    begun = crashed = False

    def hears(source: Name, target: Name, body: Any) -> bool:
        nonlocal received, data, shown, crashed
        if not begun or source == target:
            return True
        data += isinstance(body, Data)
        shown += isinstance(body, Ack | Row)
        if crash is not None and target == crash.name:
            received += 1
            if received > crash.after and not crashed:
                crashed = True
                members.world.schedule(0, members.world.crash, target)
            return not crashed
        return True

    def propose(name: Name, value: int) -> None:
        members.multicast(name, b"%d" % value)

    members = Members(names, spec, applications, seed=seed, hears=hears)
    members.found()
    begun = True
    for place, (name, value) in enumerate(zip(names, proposals, strict=True)):
        if value is not None:
            members.world.schedule(place * MICROSECOND, propose, name, value)

    def alive() -> tuple[Name, ...]:
        return tuple(name for name in names if not (crash is not None and crashed and name == crash.name))

    members.world.run_while(lambda: any(name not in decided for name in alive()), PATIENCE_NS, MICROSECOND)
    counted = data, shown
    members.world.run_for(SECOND)
    assert not members.world.failures, members.world.failures
    return Decision(tuple(proposals), crash, crashed, decided, alive(), *counted)


def after_crashes(spec: GroupSpec, names: Sequence[Name], crashes: Sequence[Name], *, at_once: bool) -> bool:
    """Members crash, at once or each when the others have gone on without the last; then those that are left propose.
    True if all of them decide."""
    decided: dict[Name, int] = {}
    applications: dict[Name, Application] = {name: Member(decided, name) for name in names}
    members = Members(names, spec, applications)
    members.found()
    for count, name in enumerate(crashes, 1):
        members.world.crash(name)
        if not at_once and not _goes_on(members, [other for other in names if other not in crashes[:count]]):
            break
    left = [name for name in names if name not in crashes]
    for number, name in enumerate(left):
        members.multicast(name, b"%d" % number)
    done = members.world.run_while(lambda: any(name not in decided for name in left), PATIENCE_NS)
    assert not members.world.failures, members.world.failures
    assert len(set(decided.values())) <= 1, "they disagree"
    return done


def _goes_on(members: Members, left: Sequence[Name]) -> bool:
    """They are in a view of their own, within a while."""
    return members.world.run_while(lambda: not members.is_whole(left), PATIENCE_NS)


def rotating_after_crashes(names: Sequence[Name], crashes: Sequence[Name]) -> bool:
    """The same of processes of Chandra and Toueg's algorithm, with timeouts that grow; some have crashed beforehand."""
    decided: dict[Name, int] = {}

    def begin_process(setup: Setup) -> Machine:
        return Watchful(Rotating(setup.name, names, names.index(setup.name)), LIMIT_NS, grows=True)

    def deliver(node: Node, value: int) -> None:
        decided[node.name] = value

    world = World(1, begin_process, deliver=deliver, conditions=Conditions(stagger_ns=0))
    for name in names:
        world.add(name, start=name not in crashes)
    left = [name for name in names if name not in crashes]
    done = world.run_while(lambda: any(name not in decided for name in left), PATIENCE_NS)
    assert not world.failures, world.failures
    assert len(set(decided.values())) <= 1, "they disagree"
    return done
