"""Everything that decides a run: the seed and what was drawn from it.  It can be edited, printed, and replayed."""

import msgspec

from phalanx.model.clock import SECOND
from phalanx.model.view import Name
from phalanx.sim.conditions import Conditions
from phalanx.sim.faults import Fault


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A storm of faults until `heal_at_ns`, then a calm of at most `calm_ns` in which the run must finish."""

    seed: int
    """What the workload comes from, and with `luck` all else that is left to chance: delays, the machines' randomness.
    """
    nodes: int
    conditions: Conditions
    faults: tuple[Fault, ...] = ()
    heal_at_ns: int = 0
    calm_ns: int = 60 * SECOND
    calls: tuple[int, ...] | None = None
    """Which calls of the workload are made, by position; None: all."""
    luck: int = 0
    """Another number is another run of the same plan."""

    @property
    def names(self) -> list[Name]:
        return [f"n{index}" for index in range(self.nodes)]

    def dump(self) -> str:
        """One line of JSON; `Plan.load` reads it back."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def load(text: str) -> "Plan":
        """Raises msgspec.ValidationError if that is no plan."""
        return msgspec.json.decode(text, type=Plan)

    def describe(self) -> str:
        """The plan for a reader, one fault a line."""
        calls = "all" if self.calls is None else ", ".join(map(str, self.calls))
        head = f"seed {self.seed}, {self.nodes} nodes, calls: {calls or 'none'}, healed at {self.heal_at_ns} ns"
        return "\n".join((head, f"  {self.conditions}", *(f"  {fault}" for fault in self.faults)))
