"""Messages in: who speaks, of which cluster and view, whether it can be; then each to the part that it is for.

Nearly everything is traffic that a member of our view says in it (batches, acknowledgements, rows): that is recognized
first.
"""

from typing import Any, Final, assert_never

from msgspec.structs import astuple

from phalanx.group.acceptor import Acceptor
from phalanx.group.coordinator import Coordinator
from phalanx.group.core import Core
from phalanx.group.membership import Membership
from phalanx.group.messages import (
    Accept,
    Accepted,
    Ack,
    Alive,
    Chunk,
    Commit,
    Data,
    Envelope,
    Fetch,
    Gather,
    Held,
    Nack,
    Prepare,
    Promise,
    Pull,
    Refuse,
    RefuseHost,
    Row,
    Superseded,
    Wish,
)
from phalanx.group.multicast import Multicasting
from phalanx.group.plausible import fault_in_traffic
from phalanx.group.reads import Reads
from phalanx.group.succession import Succession
from phalanx.group.transfer import Transfer
from phalanx.group.validity import fault_in
from phalanx.model.machine import Drop
from phalanx.model.view import Address, Member, Name

_fields_of: Final = astuple  # ARCHITECTURE, decision 58
_TRAFFIC: Final = (Data, Ack, Row)


class Intake:
    """The part of a node that takes what its peers say."""

    def __init__(
        self,
        core: Core,
        acceptor: Acceptor,
        coordinator: Coordinator,
        membership: Membership,
        multicast: Multicasting,
        reads: Reads,
        succession: Succession,
        transfer: Transfer,
    ) -> None:
        self.core = core
        self._acceptor = acceptor
        self._coordinator = coordinator
        self._membership = membership
        self._multicast = multicast
        self._reads = reads
        self._succession = succession
        self._transfer = transfer

    def absorb(self, source: Address, envelope: Envelope) -> None:
        """Check who speaks, of which cluster and view; then pass the message on to its part."""
        core = self.core
        fields: tuple[int, Member, Any] = _fields_of(envelope)
        cluster, sender, body = fields
        if type(body) in _TRAFFIC and self._is_of_peer(source, cluster, sender, body.view):
            self._absorb_traffic(source, sender, body)
            return
        core.stirred = True
        if self._is_faulty(source, envelope):
            return
        if isinstance(body, Wish):
            self._on_wish(source, cluster, sender, body)
        elif isinstance(body, Commit):
            self._on_commit(cluster, body)
        elif isinstance(body, Refuse):
            self._on_refuse(body)
        elif cluster != core.cluster:
            self._on_foreign(source, envelope)
        elif isinstance(body, RefuseHost):
            self._membership.on_refuse_host(body)
        elif isinstance(body, Superseded):
            self._succession.on_superseded(body.by)
        elif isinstance(body, Fetch | Chunk):
            if self._is_known(source, sender):
                (self._transfer.on_fetch if isinstance(body, Fetch) else self._transfer.on_chunk)(sender.name, body)  # type: ignore[arg-type]  # matched by the condition
        elif self._is_of_our_view(source, body) and self._is_known(source, sender):
            self._absorb_body(sender, body)

    def _on_wish(self, source: Address, cluster: int, sender: Member, wish: Wish) -> None:
        core = self.core
        if cluster in (0, core.cluster):
            self._membership.on_wish(source, wish)
        elif core.view is not None and cluster in core.view.lineage:
            core.tell_superseded(source, cluster)
        elif core.view is not None and core.view.id > 0:
            core.note("join.foreign", str(sender), cluster)
            reason = (
                f"{sender.name} belongs to cluster {cluster:x}, as its data directory says, and this is cluster "
                f"{core.cluster:x}: start it with members of its own, or with another data directory"
            )
            core.post_to([sender.address], Refuse(sender, reason, 0))

    def _on_foreign(self, source: Address, envelope: Envelope) -> None:
        """Two clusters have met by a wrong address, or a founder does not know yet that its cluster was founded."""
        core = self.core
        begun = core.view is not None and core.view.id > 0
        founds = isinstance(envelope.body, Alive | Prepare) and envelope.body.view == 0
        if founds and (begun or 0 in core.past):  # in no view ourselves, we may be the only one that knows (9)
            core.tell_successor(source, 0)
            return
        if core.view is None or not begun:
            return
        if envelope.cluster in core.view.lineage:
            core.tell_superseded(source, envelope.cluster)
            return
        core.note("foreign", envelope.cluster)
        reason = f"{envelope.sender} is of cluster {envelope.cluster:x}, not {core.cluster:x}"
        core.out.drops.append(Drop(source, reason))

    def _is_of_peer(self, source: Address, cluster: int, sender: Member, view: int) -> bool:
        """Said in our view by the very process that is a member of it, and from where it lives: nearly everything is."""
        core, name = self.core, sender.name
        return (
            core.roster.members.get(name) == sender
            and source == sender.address
            and cluster == core.cluster
            and core.view is not None
            and view == core.view.id
            and not core.excluded
            and name not in core.dead
            and name != core.name
        )

    def _absorb_traffic(self, source: Address, sender: Member, body: Data | Ack | Row) -> None:
        core = self.core
        fault = fault_in_traffic(core, sender, body)
        if fault is not None:
            core.note("fault", fault)
            core.out.drops.append(Drop(source, fault))
            return
        name = sender.name
        core.detector.heard(name, core.now.mono)
        if type(body) is Data:
            self._multicast.on_data(name, body)
        elif type(body) is Ack:
            self._multicast.on_ack(name, body)
        else:
            self._on_row(name, body)  # type: ignore[arg-type]  # the third of them

    def _on_row(self, name: Name, row: Row) -> None:
        core = self.core
        if len(row.echo) == len(core.roster.everyone):
            self._hear_claims(name, row)
            self._multicast.on_row(name, row)
            self._reads.on_row(name)

    def _is_faulty(self, source: Address, envelope: Envelope) -> bool:
        """No correct member says that: its connection is dropped, and nothing else happens (SCENARIOS 41)."""
        core = self.core
        fault: str | None
        if source.startswith("~"):
            fault = "a client says what only nodes say"
        elif envelope.cluster != core.cluster and not isinstance(envelope.body, Wish | Refuse | Commit):
            return False  # it is looked at no further
        else:
            fault = fault_in(core, envelope.sender, envelope.body)
        if fault is None:
            return False
        core.note("fault", fault)
        core.out.drops.append(Drop(source, fault))
        return True

    def _is_of_our_view(self, source: Address, body: Any) -> bool:
        """Messages speak of one view.  Whoever speaks of an older one is told its successor; of a newer one, asked."""
        core = self.core
        ours = core.view.id if core.view is not None and not core.excluded else -1
        view: int = body.view
        if view == ours or (isinstance(body, Data) and core.ledger.channel(body.group, view) is not None):
            return True
        if view > ours >= 0:
            core.show_view(source)
        else:
            core.tell_successor(source, view)
        return False

    def _is_known(self, source: Address, sender: Member) -> bool:
        """The sender is a member, or the newer incarnation that votes for one (which is evidence that it is gone)."""
        core = self.core
        view = core.view
        if view is None or core.excluded:
            return False
        member = core.roster.members.get(sender.name)
        if member is None or sender.incarnation < member.incarnation or sender.address != source:
            core.note("stranger", str(sender))
            return False
        if member.incarnation < sender.incarnation and view.id > 0:
            core.dead.add(sender.name)
            core.stirred = True
            if sender.address != member.address:
                core.has_moved(sender.name, sender.address)
        elif sender.address != member.address:
            core.note("stranger", str(sender))
            return False
        elif sender.name in core.dead:
            return False  # it was replaced: this is an old message
        if sender.name != core.name:
            core.detector.heard(sender.name, core.now.mono)
        return True

    def _hear_claims(self, name: Name, said: Row | Alive) -> None:
        core = self.core
        core.detector.claimed(name, core.claims(said.hears, said.suspects, said.grounds, said.others), core.now.mono)

    def _absorb_body(self, sender: Member, body: Any) -> None:
        core = self.core
        name = sender.name
        match body:
            case Data():
                self._multicast.on_data(name, body)
            case Row() | Ack():
                pass  # of a later incarnation, which holds nothing
            case Alive():
                self._hear_claims(name, body)
                if body.promised is not None and core.flush is not None:
                    core.flush.highest = max(core.flush.highest, body.promised.counter)
                    core.freezers[name] = core.now.mono
            case Prepare():
                self._acceptor.on_prepare(name, body)
            case Promise():
                self._coordinator.on_promise(name, body)
            case Nack():
                self._coordinator.on_nack(name, body)
            case Gather():
                self._acceptor.on_gather(name, body)
            case Held():
                self._coordinator.on_held(name, body)
            case Pull():
                self._acceptor.on_pull(name, body)
            case Accept():
                self._acceptor.on_accept(body)
            case Accepted():
                self._acceptor.on_accepted(name, body)
            case _:
                assert_never(body)

    def _on_commit(self, cluster: int, body: Commit) -> None:
        if not self.core.excluded and cluster == body.value.view.cluster:
            self._succession.on_commit(body.value)

    def _on_refuse(self, body: Refuse) -> None:
        core = self.core
        if body.member != core.me or core.live or core.view is not None or core.decision is not None:
            return
        if body.least > core.me.incarnation:
            core.note("incarnation.raised", body.least)
            core.me = Member(core.me.name, core.me.address, body.least)
            # No life of this disk had a higher number: those up to this one are another disk's.
            core.ledger.first = body.least
            core.persist(incarnation=body.least, first=body.least)
        self._membership.on_refuse(body)
