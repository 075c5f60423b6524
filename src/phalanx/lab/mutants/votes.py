"""Without rules about who is in: votes and ballots, joiners, founders."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from phalanx.group import coordinator as coordinator_module
from phalanx.group import core as core_module
from phalanx.group import detector as detector_module
from phalanx.group import flush as flush_module
from phalanx.group import proposal as proposal_module
from phalanx.group.acceptor import Acceptor
from phalanx.group.coordinator import Coordinator
from phalanx.group.core import Core
from phalanx.group.flush import Attempt
from phalanx.group.messages import (
    Alive,
    Ballot,
    Decision,
    Prepare,
)
from phalanx.group.proposal import Grounds
from phalanx.lab.mutants.registry import mutant
from phalanx.model.view import Address, Member, Name, View
from phalanx.parts.quorum import is_quorum

# --- who is in: 5, 13 --------------------------------------------------------------------------------------------------


def _restarted_are_full(old: View, grounds: Grounds) -> list[Member]:
    promises = grounds.promises
    if not is_quorum(old, promises.keys()):
        return []
    return [m if (p := promises[m.name]).live else p.wish.member for m in old.members if m.name in promises]


mutant("restarted voters are full members", 5, (proposal_module, "_full_members", _restarted_are_full))


def _promote_all(old: View, grounds: Grounds, full: Collection[Name]) -> list[Member]:
    ready = [m for m in old.learners if m.name in grounds.promote and m.name in grounds.promises]
    return [m for m in ready if m.name not in full and grounds.promises[m.name].wish.member == m]


mutant("any number is promoted at once", 5, (proposal_module, "_promoted", _promote_all))


def _majority_always(view: View, names: Collection[Name]) -> bool:
    return is_quorum(msgspec.structs.replace(view, id=1), names)


mutant(
    "most of the founders found a cluster",
    13,
    *(
        (module, "is_quorum", _majority_always)
        for module in (coordinator_module, core_module, detector_module, flush_module, proposal_module)
    ),
)

# --- votes: 9, 12, 16, 18 ----------------------------------------------------------------------------------------------

_announce, _tell_successor = Coordinator.announce, Core.tell_successor


def _announce_as_coordinator(self: Coordinator, value: Decision) -> None:
    if self.core.attempt is not None:
        _announce(self, value)


def _tell_while_member(self: Core, address: Address, view: int) -> None:
    if self.view is not None and not self.excluded:
        _tell_successor(self, address, view)


mutant(
    "the excluded keep the decision to themselves",
    9,
    (Coordinator, "announce", _announce_as_coordinator),
    (Core, "tell_successor", _tell_while_member),
)


def _adopt_nothing(_: Attempt) -> None:
    return None


mutant("an accepted value is not adopted", 9, (Attempt, "adopted", _adopt_nothing))

_persist = Core.persist


def _forget(*fields: str) -> Callable[..., None]:
    def persist(self: Core, **changes: Any) -> None:
        if {field for field, value in changes.items() if value is not None} != set(fields):
            _persist(self, **changes)

    return persist


mutant("an acceptance is not written down", 12, (Core, "persist", _forget("promised", "accepted")))
mutant("a promise is not written down", 12, (Core, "persist", _forget("promised")))


def _persist_for_all_lives(self: Core, **changes: Any) -> None:
    _persist(self, **(changes | {"first": 1} if "first" in changes else changes))


mutant("a new disk speaks for the lives before it", 0, (Core, "persist", _persist_for_all_lives))


def _refuse_old_ballots(self: Acceptor, view: View, sender: Name, message: Prepare) -> str | None:  # noqa: ARG001  the rule's arguments
    flush = self.core.flush
    assert flush is not None
    return "a higher ballot is promised" if flush.promised and message.ballot < flush.promised else None


mutant("anyone may freeze the others", 16, (Acceptor, "_refusal", _refuse_old_ballots))


def _watch_nobody(_: Coordinator) -> None:
    """A coordinator that is heard will do something some day."""


mutant(
    "a hung disk does not show",
    16,
    (Coordinator, "_watch_coordinator", _watch_nobody),
    (core_module, "_EAGER", (*core_module._EAGER, Alive)),
)


def _ballot_without_incarnation(counter: int, name: Name, _: int) -> Ballot:
    return Ballot(counter, name, 0)


mutant("a ballot has no incarnation", 18, (coordinator_module, "Ballot", _ballot_without_incarnation))

_asked = Coordinator._asked


def _ask_the_others(self: Coordinator, attempt: Attempt) -> list[Name]:
    view = self.core.view
    mine = self.core.name if view is not None and view.id > 0 and len(view.members) > 2 else None  # others suffice
    return [name for name in _asked(self, attempt) if name != mine]


mutant("a coordinator makes itself no promise", 18, (Coordinator, "_asked", _ask_the_others))
