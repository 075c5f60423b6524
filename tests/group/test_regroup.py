"""group.regroup: who may go at once, and what becomes of a group (DESIGN sections 4, 6, 8)."""

import random
from collections.abc import Mapping, Sequence

import pytest

from phalanx.group.messages import Ballot, Progress, Promise, Wish
from phalanx.group.regroup import Census, Regrouping, continue_group, found_groups, may_leave, may_unhost
from phalanx.model.view import Group, GroupSpec, Member, Order, View

TOTAL, FIFO = GroupSpec("t", Order.TOTAL), GroupSpec("f", Order.FIFO)


def member(name: str, incarnation: int = 1) -> Member:
    return Member(name, name, incarnation)


def view_of(members: str, learners: str = "", *groups: Group) -> View:
    return View(9, 5, tuple(map(member, members)), tuple(map(member, learners)), groups)


def group_of(hosts: str, learners: str = "", spec: GroupSpec = TOTAL) -> Group:
    return Group(1, spec, tuple(hosts), tuple(learners))


def wish_of(name: str, *hosts: GroupSpec, unhosts: tuple[str, ...] = ()) -> Wish:
    return Wish(member(name), False, hosts, unhosts, False)


def has(received: tuple[int, ...], *, synced: bool = True, released: tuple[int, ...] = ()) -> Progress:
    return Progress(1, received, released or (0,) * len(received), synced, 5)


def after(
    group: Group,
    progress: Mapping[str, Progress],
    *,
    full: str,
    learners: str = "",
    leaving: str = "",
    wishes: Sequence[Wish] = (),
) -> Regrouping | None:
    """The group after a view change in which these reported progress, with these full members and learners next."""
    view = view_of("abcd", "xy", group)
    promises = {
        n: Promise(5, Ballot(1, "a", 1), None, True, (p,), 0, 0, wish_of(n)) for n, p in sorted(progress.items())
    }
    members, others = [member(n) for n in full], [member(n) for n in learners]
    census = Census(view, promises, members, members + others, {*full, *leaving}, {w.member.name: w for w in wishes})
    return continue_group(group, census)


# --- who may go -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("leavers", "going"), [("", ""), ("b", "b"), ("a", "a"), ("abc", "bc"), ("abcx", "bcx"), ("x", "x")]
)
def test_all_but_the_eldest_may_leave_at_once(leavers: str, going: str) -> None:
    assert may_leave(view_of("abc", "x"), leavers) == set(going)


@pytest.mark.parametrize(
    ("hosts", "learners", "leavers", "going"),
    [
        ("bc", "x", "bc", "c"),
        ("bc", "x", "b", "b"),
        ("bc", "x", "bcx", "bcx"),
        ("bc", "", "bc", "bc"),
        ("b", "a", "b", ""),
        ("abc", "x", "abc", "bc"),
    ],
    ids=["eldest host stays", "a host is left", "the learner leaves too", "nobody learns", "sole host", "all leave"],
)
def test_a_group_that_is_being_learnt_keeps_a_host(hosts: str, learners: str, leavers: str, going: str) -> None:
    assert may_leave(view_of("abc", "x", group_of(hosts, learners)), leavers) == set(going)


def test_leaving_takes_no_more_and_stops_no_more_than_it_must() -> None:
    """Any view: a full member stays, every group that one who stays is learning keeps a host, and only the eldest, or
    the eldest host of a group, is asked to wait."""
    for seed in range(2_000):
        rng = random.Random(seed)
        names = "abcdef"[: rng.randint(1, 6)]
        full, young = names[: rng.randint(1, len(names))], names
        groups = []
        for number in range(rng.randint(0, 3)):
            hosts = "".join(sorted(rng.sample(full, rng.randint(1, len(full)))))
            learners = [n for n in young if n not in hosts and rng.random() < 0.5]
            groups.append(Group(number, TOTAL, tuple(hosts), tuple(learners)))
        view = view_of(full, names[len(full) :], *groups)
        leavers = {n for n in names if rng.random() < 0.7}
        going = may_leave(view, leavers)
        assert going <= leavers, f"seed {seed}"
        assert set(full) - going, f"seed {seed}"
        for group in groups:
            if set(group.learners) - leavers:
                assert set(group.hosts) - going, f"seed {seed}: {group}"
        assert leavers - going <= {full[0], *(g.hosts[0] for g in groups)}, f"seed {seed}"


@pytest.mark.parametrize(
    ("hosts", "learners", "asking", "going"),
    [
        ("ab", "x", "b", "b"),
        ("ab", "x", "ab", "b"),
        ("ab", "x", "abx", "abx"),
        ("ab", "", "ab", "ab"),
        ("ab", "x", "xc", "x"),
    ],
    ids=["one of two", "eldest stays", "nobody wants it", "given up", "a stranger's wish is nothing"],
)
def test_unhosting_leaves_a_host_to_whoever_is_learning(hosts: str, learners: str, asking: str, going: str) -> None:
    assert may_unhost(group_of(hosts, learners), asking) == set(going)


# --- how a group goes on ----------------------------------------------------------------------------------------------


def test_a_group_that_all_hosts_gave_up_ends() -> None:
    wishes = [wish_of(n, unhosts=("t",)) for n in "ab"]
    progress = {n: has((0, 0)) for n in "ab"}
    assert after(group_of("ab"), progress, full="abcd", wishes=wishes) is None


def test_the_last_host_stays_until_its_learner_has_taken_over() -> None:
    group, unhost = group_of("a", "x"), [wish_of("a", unhosts=("t",))]
    found = after(group, {"a": has((4,)), "x": has((4,), synced=False)}, full="abcd", learners="xy", wishes=unhost)
    assert found is not None and (found.group.hosts, found.group.learners) == (("a",), ("x",))
    found = after(group, {"a": has((4,)), "x": has((4,))}, full="abcdx", learners="y", wishes=unhost)
    assert found is not None and found.group.hosts == ("a", "x")
    found = after(group_of("ax"), {"a": has((4, 0)), "x": has((4, 0))}, full="abcdx", wishes=unhost)
    assert found is not None and (found.group.hosts, found.group.learners) == (("x",), ())


def test_a_group_ends_with_the_last_host_that_has_its_state() -> None:
    """A leaver's batches belong to the cut, but its leaving keeps no group alive."""
    assert after(group_of("ab"), {"a": has((1, 1))}, full="cd", leaving="a") is None
    found = after(group_of("ab", spec=FIFO), {"a": has((3, 1)), "b": has((2, 1))}, full="bcd", leaving="a")
    assert found is not None and found.cut.upto == (3, 1)
    assert (found.lacking, found.holders) == (["b"], ("a", "a"))


def test_of_those_that_have_a_batch_the_one_that_keeps_most_holds_it() -> None:
    progress = {"a": has((3, 3), released=(3, 1)), "b": has((3, 3), released=(1, 2))}
    found = after(group_of("ab", spec=FIFO), progress, full="abcd")
    assert found is not None and found.holders == ("b", "a")


@pytest.mark.parametrize(
    ("spec", "learner", "hosts"),
    [
        (TOTAL, has((3, 3)), "abx"),
        (TOTAL, has((5, 3)), "abx"),
        (TOTAL, has((2, 3)), "abx"),
        (TOTAL, has((1, 3)), "ab"),
        (TOTAL, has((3, 3), synced=False), "ab"),
        (FIFO, has((3, 3)), "abx"),
        (FIFO, has((4, 3)), "ab"),
    ],
    ids=[
        "holds the cut",
        "holds more, delivered when stable",
        "lacks what is still kept",
        "lacks what nobody keeps",
        "without the state",
        "delivered on receipt",
        "delivered on receipt what the cut leaves out",
    ],
)
def test_a_learner_becomes_a_host_if_its_state_can_be_that_of_the_cut(
    spec: GroupSpec, learner: Progress, hosts: str
) -> None:
    """DESIGN section 6; both hosts hold three batches of each, and keep those after the second of a."""
    progress = {n: has((3, 3), released=(2, 0)) for n in "ab"} | {"x": learner}
    found = after(group_of("ab", "x", spec), progress, full="abx")
    assert found is not None and found.group.hosts == tuple(hosts)
    assert found.lacking == (["x"] if learner.received == (2, 3) else [])
    assert found.group.learners == (() if "x" in hosts else ("x",))


# --- how a group begins -----------------------------------------------------------------------------------------------


def test_groups_are_founded_in_the_order_of_their_names_by_the_full_members_that_want_them() -> None:
    wishes = {"a": wish_of("a", TOTAL), "b": wish_of("b", TOTAL, FIFO), "x": wish_of("x", FIFO)}
    members, everyone = [member("a"), member("b")], [member("a"), member("b"), member("x")]
    census = Census(view_of("ab", "x"), {}, members, everyone, "ab", wishes)
    assert found_groups(6, [], census) == [
        Group(6 << 16, FIFO, ("b",), ("x",)),
        Group(6 << 16 | 1, TOTAL, ("a", "b")),
    ]
    assert [g.spec for g in found_groups(6, [group_of("a")], census)] == [FIFO], "the other one exists"
