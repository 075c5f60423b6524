"""What each kind of message must be like to come from a correct member (SCENARIOS 41), field by field."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from phalanx.group.core import Core
from phalanx.group.machine import GroupMachine
from phalanx.group.messages import (
    Accept,
    Accepted,
    Ack,
    Body,
    Chunk,
    Commit,
    Cut,
    Data,
    Decision,
    Envelope,
    Fetch,
    Prepare,
    Progress,
    Promise,
    Pull,
    Refuse,
    Row,
    Wish,
)
from phalanx.group.validity import fault_in
from phalanx.model.clock import MILLISECOND
from phalanx.model.machine import Output, Received
from phalanx.model.view import Member, Order
from phalanx.sim.node import Node
from tests.group.cluster import Cluster, group_of
from tests.group.lies import altered


@cache
def recorded() -> tuple[Cluster, dict[type, tuple[Core, Envelope]]]:
    """A cluster at rest, and of each kind of message one that its node b would take at once."""
    cluster = Cluster("abc", group_of(Order.CAUSAL), founders="ab", late="c")
    seen: dict[type, tuple[Core, Envelope]] = {}

    class Recorder(GroupMachine):
        def _absorb(self, event: Any) -> None:
            _ = isinstance(event, Received) and seen.setdefault(type(event.message.body), (self._core, event.message))
            super()._absorb(event)

    def stepped(node: Node, _output: Output) -> None:
        if type(node.machine) is GroupMachine:
            node.machine.__class__ = Recorder

    cluster.world.stepped = stepped
    cluster.until_members("ab")
    cluster.send("a", "one")
    cluster.restart("c")
    cluster.until_members("abc")
    for kind in (Row, Data, Ack):
        seen.pop(kind)
    cluster.send("a", "two")
    cluster.until_all_deliver("abc", "two")
    cluster.until(lambda: {Row, Data, Ack} <= seen.keys(), "a row")
    return cluster, seen


def core_of(name: str) -> Core:
    return recorded()[0].machine(name)._core


def body_of(kind: type) -> Any:
    """The recorded message of that kind, moved into the present view."""
    core, envelope = recorded()[1][kind]
    body: Any = envelope.body
    assert core.view is not None
    if kind in (Row, Data, Ack):
        assert body.view == core.view.id
    return body


def change(struct: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(struct, **fields)


def a() -> Member:
    return core_of("a").me


def judge(body: Body, sender: Member | None = None) -> str | None:
    return fault_in(core_of("b"), sender or a(), body)


def row() -> Row:
    body = body_of(Row)
    core = core_of("a")
    assert core.view is not None
    size = len(core.view.everyone)
    group = core.channels[core.view.groups[0].id].row(0, True)
    changed: Row = change(body, echo=(0,) * size, others=(0,) * size, hears=0, suspects=0, groups=(group,))
    return changed


def data(**fields: Any) -> Data:
    group = core_of("b").view.groups[0]  # type: ignore[union-attr]  # the cluster has one
    core = core_of("b")
    assert core.view is not None
    made: Data = change(Data(core.view.id, group.id, 0, 9, 1 << 40, 1, -1, (0,) * len(group.hosts), [b"x"]), **fields)
    return made


def chunk(**fields: Any) -> Chunk:
    at = data()
    made: Chunk = change(Chunk(at.group, 1, at.view, (0,) * len(at.after), b"d" * 16, 0, 4, b"data"), **fields)
    return made


def test_a_batch_must_fit_its_group_and_an_unknown_group_is_none_of_our_business() -> None:
    assert judge(data()) is None
    assert judge(data(group=7, author=99, after=())) is None
    for wrong in (
        data(author=3),
        data(author=-1),
        data(after=()),
        data(after=(0, 0, -1)),
        data(number=0),
        data(stamp=0),
        data(stamp=1 << 63),
        data(row=-1),
        data(left=-2),
        data(left=1, payloads=[b"x", b"y"]),
        data(payloads=[]),
    ):
        assert judge(wrong), wrong


def test_a_row_must_be_of_this_view_and_of_its_groups() -> None:
    good = row()
    part = good.groups[0]
    assert judge(good) is None
    assert judge(change(good, view=good.view + 1, echo=())) is None
    for wrong in (
        change(good, echo=good.echo[:-1]),
        change(good, echo=(-1, *good.echo[1:])),
        change(good, others=()),
        change(good, hears=1 << len(good.echo)),
        change(good, suspects=-1),
        change(good, number=-1),
        change(good, clock=1 << 63),
        change(good, wall=1 << 60),
        change(good, groups=(part, part)),
        change(good, groups=(change(part, group=7),)),
        change(good, groups=(change(part, received=part.received[:-1]),)),
        change(good, groups=(change(part, released=part.last + 1),)),
        change(good, groups=(change(part, backlog=-1),)),
    ):
        assert judge(wrong), wrong


def test_an_acknowledgement_must_be_of_a_host_and_of_its_group() -> None:
    good = body_of(Ack)
    assert judge(good) is None
    assert judge(change(good, view=good.view + 1, received=())) is None
    for wrong in (
        change(good, view=-1),
        change(good, group=7),
        change(good, clock=1 << 63),
        change(good, last=-1),
        change(good, backlog=-1),
        change(good, received=good.received[:-1]),
        change(good, received=(-1, *good.received[1:])),
    ):
        assert judge(wrong), wrong
    assert judge(good, Member("z", "z", 5)), "it is no host"


def test_only_a_full_member_coordinates_and_only_by_ballots_of_its_own() -> None:
    core = core_of("b")
    assert core.view is not None
    old = body_of(Prepare)
    good = change(old, view=core.view.id, ballot=change(old.ballot, name="a", incarnation=a().incarnation), hears=7)
    assert judge(good) is None
    for wrong in (
        change(good, ballot=change(good.ballot, name="b")),
        change(good, ballot=change(good.ballot, incarnation=5)),
        change(good, ballot=change(good.ballot, counter=0)),
        change(good, ballot=change(good.ballot, counter=1 << 62)),
        change(good, hears=8),
        change(good, view=-1),
    ):
        assert judge(wrong), wrong
    stranger = Member("z", "z", 3)
    assert judge(change(good, ballot=change(good.ballot, name="z", incarnation=3)), stranger)


def promise() -> Promise:
    """What a would answer to a ballot of b."""
    core = core_of("a")
    assert core.view is not None
    ballot = change(body_of(Prepare).ballot, name="b", incarnation=core_of("b").me.incarnation)
    progress = tuple(
        Progress(g, tuple(c.matrix.received), tuple(c.released), True, core.view.id) for g, c in core.channels.items()
    )
    wish = Wish(core.me, False, core.config.hosts, (), False)
    return Promise(core.view.id, ballot, None, True, progress, core.clock.now, 7, wish)


def test_a_promise_reports_exactly_the_groups_that_its_sender_is_in() -> None:
    good = promise()
    part = good.progress[0]
    assert judge(good) is None
    for wrong in (
        change(good, progress=()),
        change(good, progress=(part, part)),
        change(good, progress=(change(part, group=7),)),
        change(good, progress=(change(part, received=part.received[:-1]),)),
        change(good, progress=(change(part, released=part.released[:-1]),)),
        change(good, progress=(change(part, released=(1 << 30,) * len(part.released)),)),
        change(good, live=False, progress=()),
        change(good, clock=1 << 63),
        change(good, wish=change(good.wish, member=core_of("b").me)),
        change(good, accepted=Accepted(good.view + 1, good.ballot, body_of(Commit).value)),
    ):
        assert judge(wrong), wrong


def decision() -> Commit:
    """What would make the present view go on as it is."""
    core = core_of("b")
    assert core.view is not None
    view = change(core.view, id=core.view.id + 1)
    cuts = tuple(Cut(g, tuple(c.matrix.received)) for g, c in core.channels.items())
    return Commit(Decision(core.view.id, view, cuts, core.clock.now))


def test_a_decision_must_be_a_view_that_could_follow_ours() -> None:
    good = decision()
    value, view = good.value, good.value.view
    group, cut = view.groups[0], value.cuts[0]
    member = view.members[0]
    assert judge(good) is None

    def of(**fields: Any) -> Commit:
        return Commit(change(value, **fields))

    def group_is(**fields: Any) -> Commit:
        return of(view=change(view, groups=(change(group, **fields),)))

    for wrong in (
        of(old=value.old - 1),
        of(old=-1, view=change(view, id=0)),
        of(clock=-1),
        of(cuts=()),
        of(cuts=(cut, cut)),
        of(cuts=(change(cut, upto=cut.upto[:-1]),)),
        of(cuts=(change(cut, upto=tuple(n + 1 for n in cut.upto)),)),
        of(cuts=(change(cut, upto=(0,) * len(cut.upto)),)),
        of(view=change(view, members=())),
        of(view=change(view, members=(*view.members, member))),
        of(view=change(view, members=(change(member, incarnation=0), *view.members[1:]))),
        of(view=change(view, members=(change(member, incarnation=member.incarnation + 1), *view.members[1:]))),
        of(view=change(view, cluster=0)),
        of(view=change(view, groups=(group, group))),
        of(view=change(view, departed=(("x", -1),))),
        group_is(hosts=()),
        group_is(hosts=("a", "z")),
        group_is(hosts=("a", "a")),
        group_is(learners=("a",)),
        group_is(spec=change(group.spec, order=Order.FIFO)),
        group_is(spec=change(group.spec, lease_ms=1 << 40)),
        group_is(id=group.id + 1),
    ):
        assert judge(wrong), wrong
    assert judge(Accept(value.old, body_of(Accept).ballot, change(value, view=change(view, cluster=7))), a())


def test_a_piece_lies_within_its_snapshot_or_is_empty_beyond_it() -> None:
    assert judge(chunk()) is None
    assert judge(chunk(offset=100, data=b"")) is None  # another donor's snapshot was longer
    for wrong in (
        chunk(offset=-1),
        chunk(offset=1),
        chunk(data=b""),
        chunk(total=0, data=b""),
        chunk(total=1 << 63),
        chunk(token=0),
        chunk(digest=b""),
        chunk(covers=()),
        chunk(covers=(0,)),
        chunk(covers=(0, 0, -1)),
    ):
        assert judge(wrong), wrong
    at = chunk()
    assert judge(Fetch(at.group, 0, at.view, at.covers)) is None
    assert judge(Fetch(at.group, 0, at.view, at.covers[:-1]))
    assert judge(Fetch(at.group, -1, at.view, at.covers))


def test_nobody_wishes_to_be_a_later_life_of_a_node_that_lives() -> None:
    me = core_of("b").me
    spec = core_of("b").config.hosts[0]
    good = Wish(Member("z", "z", 3), True, (spec,), (), False)
    assert judge(good) is None
    for wrong in (
        change(good, member=Member("", "z", 3)),
        change(good, member=Member("z", "", 3)),
        change(good, member=Member("z", "z", 0)),
        change(good, member=Member("z", "z", 1 << 62)),
        change(good, member=change(me, incarnation=me.incarnation + 1)),
        change(good, hosts=(spec, change(spec, order=Order.FIFO))),
        change(good, hosts=(change(spec, name="x" * 2000),)),
        change(good, unhosts=("x", "x")),
    ):
        assert judge(wrong), wrong
    assert judge(Refuse(me, "go away", 1 << 62))
    assert judge(Pull(1, 1, 1, 0, 5, 4))


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(sorted({Data, Row, Promise, Commit, Chunk}, key=lambda k: k.__name__)), seed=st.integers())
def test_judging_never_raises_and_never_changes_anything(kind: type, seed: int) -> None:
    bodies: dict[type, Callable[[], Body]] = {
        Data: data,
        Row: row,
        Promise: promise,
        Commit: decision,
        Chunk: chunk,
    }
    core = core_of("b")
    lie = altered(random.Random(seed), Envelope(core.cluster, a(), bodies[kind]()))
    before = (core.view, core.votes, core.decision, list(core.out.drops), core.clock.now // MILLISECOND)
    if lie is not None:
        reason = fault_in(core, lie.sender, lie.body)
        assert reason is None or reason
    assert before == (core.view, core.votes, core.decision, list(core.out.drops), core.clock.now // MILLISECOND)
