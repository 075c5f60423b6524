"""What is wrong when a process is wrong: other messages than its program's, and other steps.

The simulator knows neither messages nor machines, so both can be said by the scenario: `alter` makes of a message another
one, `derail` has a process take a step that its program does not have, and says which, or None if it cannot.  Without
them one part of a message becomes another (`altering`), and of what the process takes in its next step one event counts
twice, or not at all.
"""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from phalanx.model.view import Name
from phalanx.sim.node import Node

if TYPE_CHECKING:
    from phalanx.sim.world import World

Alter = Callable[[Any, random.Random], Any]
Derail = Callable[[Node, random.Random], str | None]

WRONG = "wrong transition"
"""What traces say of each."""


class Wrongs:
    """Of one world."""

    def __init__(self, world: "World", alter: Alter, derail: Derail | None, codec: Callable[[Any], Any] | None) -> None:
        """codec: for messages as they travel; what it does not take is not said."""
        self._world = world
        self._alter = alter
        self._derail = derail
        self._codec = codec

    def alter(self, message: Any, rng: random.Random) -> Any:
        """What is said instead of the message: another that can be read, or else the same."""
        untrue = self._alter(message, rng)
        if self._codec is not None and untrue is not message:
            try:
                self._codec(untrue)
            except msgspec.MsgspecError:
                return message
        return untrue

    def derail(self, name: Name) -> None:
        """Have the process take a wrong step, now or with the next events that it takes.  One that is down takes none."""
        world, node = self._world, self._world.nodes[name]
        if node.machine is None:
            return
        rng = random.Random(f"{world.seed}/derail/{name}/{world.now}")
        what = None if self._derail is None else self._derail(node, rng)
        if what is None:
            node.derailed += 1
        else:
            world.tell(WRONG, name, what)

    def deviate(self, node: Node, events: Sequence[Any]) -> list[Any]:
        """What the process takes in the step for which it was armed."""
        node.derailed -= 1
        rng = random.Random(f"{self._world.seed}/deviate/{node.name}/{self._world.now}")
        at, times = rng.randrange(len(events)), rng.choice((0, 2))
        self._world.tell(WRONG, node.name, "taken twice:" if times else "forgotten:", events[at])
        return [*events[:at], *[events[at]] * times, *events[at + 1 :]]
