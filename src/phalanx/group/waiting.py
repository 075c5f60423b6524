"""What a node waits for that cannot act: for its operator, in words and as data."""

from collections.abc import Sequence
from typing import NamedTuple

from phalanx.group.birth import seeds
from phalanx.group.core import Core
from phalanx.group.membership import Membership
from phalanx.model.clock import SECOND
from phalanx.model.view import Address, Member, Name, View


class Waiting(NamedTuple):
    """What it waits for; all empty: for nothing."""

    text: str = ""
    missing: tuple[Name, ...] = ()
    """Members of the view that it is in, or votes in, of which nothing is heard."""
    asks: tuple[Address, ...] = ()
    """Where it asks to be let in."""


def waiting(core: Core, membership: Membership) -> Waiting:
    """What this node waits for now."""
    if core.excluded:
        return Waiting("has left" if membership.leaving else "was put out, and returns as a new incarnation")
    view = core.view
    if view is None:
        asks = seeds(core)
        if membership.asks_at > core.now.mono:
            wait = -((core.started - membership.asks_at) // SECOND)
            why = "was put out again and again soon after it had been let in"
            return Waiting(f"{why}, and waits {wait} s before it asks anew at {', '.join(asks)}", (), asks)
        answer = (
            membership.refused or f"no answer for {(core.now.mono - max(core.started, membership.asks_at)) // SECOND} s"
        )
        return Waiting(f"asks to be let in at {', '.join(asks)}: {answer}", (), asks)
    missing = [m for m in view.members if core.detector.is_cut_off(m.name, core.now.mono)]
    names = tuple(m.name for m in missing)
    if view.id == 0:
        where = [f"{m.name} at {m.address}" for m in missing]
        founders = (
            f"waits for {_listed(where)} of its founders" if missing else "founds a cluster: all founders are here"
        )
        return Waiting(founders, names)
    if not core.live:
        what = f"waits for a quorum of its last view, {view.id} ({' '.join(m.name for m in view.members)})"
        return Waiting(f"{what}{_missing(missing)}", names, seeds(core))
    if not core.hears_quorum():
        return Waiting(f"is cut off from a quorum of view {view.id}{_missing(missing)}", names)
    if not core.active:
        return Waiting(f"is in a view change: view {view.id} ends", names)
    return _learning(core, view)


def _learning(core: Core, view: View) -> Waiting:
    if view.rank(core.name) >= 0:
        return Waiting()
    learnt = [g.spec.name for g in view.groups if core.name in g.learners and not core.is_synced(g.id)]
    return Waiting(f"waits for the state of {_listed(learnt)}" if learnt else "waits to be made a full member")


def _missing(missing: Sequence[Member]) -> str:
    return f": missing {_listed([m.name for m in missing])}" if missing else ""


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
