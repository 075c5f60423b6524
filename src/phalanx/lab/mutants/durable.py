"""Without rules about durable groups: receipts, logs, suspension, stamps."""

from collections.abc import Mapping
from typing import Any

import msgspec

from phalanx.group import membership as membership_module
from phalanx.group import proposal as proposal_module
from phalanx.group import regroup as regroup_module
from phalanx.group.channel import Channel
from phalanx.group.config import Limits
from phalanx.group.contents import Suffix
from phalanx.group.ledger import Ledger
from phalanx.group.messages import Cut, Data, Decision
from phalanx.group.multicast import Multicasting
from phalanx.group.recovered import Recovered
from phalanx.group.regroup import Census, Regrouping, revive
from phalanx.lab.mutants.registry import mutant
from phalanx.model.clock import Stamp
from phalanx.model.machine import Journal, Output
from phalanx.model.view import Group, Name
from phalanx.parts.stability import Stability
from phalanx.sim.disks import Disks
from phalanx.sim.node import Node

_take = Channel._take


def _take_at_once(self: Channel, data: Data) -> None:
    _take(self, data)
    self.settle(data)


mutant("a receipt is shown before it is on disk", 3, (Channel, "_take", _take_at_once))

_receive = Stability.receive


def _receive_for_its_author(self: Stability, author: int, number: int, stamp: Stamp) -> None:
    _receive(self, author, number, stamp)
    self._raise(self.shown[author], author, number)


mutant("a batch shows that its author has it on disk", 3, (Stability, "receive", _receive_for_its_author))


def _given_up(_: Group, __: Census) -> bool:
    return True


mutant("a group that nobody can go on with is given up", 3, (proposal_module, "is_given_up", _given_up))

_revive = revive


def _revive_from_nothing(group: Group, view: int, census: Census) -> Regrouping | None:
    found = _revive(group, view, census)
    if found is None:
        return None
    return found._replace(cut=found.cut.__class__(group.id, (0,) * len(group.hosts), found.cut.view), lacking=[])


mutant("a group that goes on from logs is truncated", 3, (proposal_module, "revive", _revive_from_nothing))


def _ends_any_view(recovered: Recovered, _: Decision, cut: Cut) -> bool:
    return len(cut.upto) == len(recovered.channel.hosts)


mutant("a log of an older view is taken for the group's", 3, (Recovered, "is_ended_by", _ends_any_view))

_replay = Ledger._replay


def _replay_behind_the_cut(self: Ledger, journal: Journal) -> None:
    last = max(journal.cuts, default=0)
    _replay(self, Journal(tuple(journal.records)[last:]))


mutant("the wrong end of a torn log is cut off", 12, (Ledger, "_replay", _replay_behind_the_cut))


def _doubt_nothing(_: Ledger) -> None:
    """What is not in the log has never been."""


mutant("a torn log counts as whole", 12, (Ledger, "_doubt", _doubt_nothing))


_make_ledger = Ledger.__init__


def _make_ledger_of_what_is_there(
    self: Ledger, me: Name, limits: Limits, journal: Journal | None, first: int = 0
) -> None:
    _make_ledger(self, me, limits, Journal(journal.records, journal.cuts) if journal is not None else None, first)


mutant("a log in place of a damaged one counts as empty", 3, (Ledger, "__init__", _make_ledger_of_what_is_there))


_complete = Recovered.complete


def _complete_with_all_here(self: Recovered, suffix: Suffix) -> bool:
    upto = tuple(map(max, suffix.upto, self.channel.arrived))
    return _complete(self, Suffix(suffix.since, upto, suffix.batches, suffix.ends))


mutant("a log's open view is taken for common with the group", 3, (Recovered, "complete", _complete_with_all_here))


def _complete_without_the_rest(self: Recovered, suffix: Suffix) -> bool:
    upto = tuple(map(min, suffix.upto, self.channel.arrived))
    return _complete(self, Suffix(suffix.since, upto, suffix.batches, suffix.ends))


mutant("a log's last view is not completed", 3, (Recovered, "complete", _complete_without_the_rest))


def _reserve_nothing(self: Ledger, out: Output, clock: Stamp) -> None:  # noqa: ARG001  the rule's arguments
    self.ceiling = max(self.ceiling, clock + 1)


mutant("stamps have no ceiling on disk", 10, (Ledger, "reserve", _reserve_nothing))


def _always_may(_: Multicasting, __: Channel) -> bool:
    return True


mutant("a group sends with any number of copies", 0, (Multicasting, "_may_stamp", _always_may))


_is_enough = regroup_module.is_enough


def _as_if_it_had_sent(group: Group, logs: Mapping[Name, bool]) -> bool:
    return _is_enough(msgspec.structs.replace(group, spec=msgspec.structs.replace(group.spec, min_copies=1)), logs)


mutant(
    "a group without its copies may have sent",
    0,
    (regroup_module, "is_enough", _as_if_it_had_sent),
    (membership_module, "is_enough", _as_if_it_had_sent),
)


_extend = Disks._extend


def _extend_by_what_fits(self: Disks, node: Node, records: list[Any]) -> None:
    _extend(self, node, records if node.room is None else records[: node.room])


def _takes_anything(_: Disks, __: Node) -> bool:
    return True


mutant(
    "a driver takes a refused append for a durable one",
    3,
    (Disks, "_extend", _extend_by_what_fits),
    (Disks, "_has_room", _takes_anything),
)
