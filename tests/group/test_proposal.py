"""group.proposal: what the next view shall be, as a function of the promises (DESIGN section 6, step 3)."""

import random
from collections.abc import Mapping, Sequence

import pytest

from phalanx.group.messages import Ballot, Progress, Promise, Wish
from phalanx.group.proposal import Grounds, Plan, plan
from phalanx.model.view import Group, GroupSpec, Member, Order, View
from phalanx.parts.quorum import is_quorum

BALLOT = Ballot(1, "a", 1)
TOTAL, FIFO = GroupSpec("t", Order.TOTAL), GroupSpec("f", Order.FIFO)


def member(name: str, incarnation: int = 1) -> Member:
    return Member(name, name, incarnation)


def view_of(members: str, learners: str = "", *groups: Group, view: int = 5) -> View:
    return View(9, view, tuple(map(member, members)), tuple(map(member, learners)), groups)


def promise(
    view: View,
    name: str,
    progress: Sequence[Progress] = (),
    *,
    hears: str | None = None,
    live: bool = True,
    clock: int = 0,
    leave: bool = False,
    hosts: tuple[GroupSpec, ...] = (),
    unhosts: tuple[str, ...] = (),
) -> Promise:
    mask = sum(1 << i for i, m in enumerate(view.everyone) if hears is None or m.name in hears)
    wish = Wish(member(name, 1 if live else 2), not live, hosts, unhosts, leave)
    return Promise(view.id, BALLOT, None, live, tuple(progress), clock, mask, wish)


def has(received: tuple[int, ...], *, synced: bool = True, released: tuple[int, ...] = ()) -> Progress:
    """Progress in group 1; everything is still kept unless said otherwise."""
    return Progress(1, received, released or (0,) * len(received), synced, 5)


def decide(
    view: View,
    promises: Mapping[str, Promise],
    *,
    wishes: Sequence[Wish] = (),
    silent: str = "",
    promote: str = "",
) -> Plan | None:
    asked = {w.member.name: w for w in wishes} | {n: p.wish for n, p in promises.items()}
    return plan(view, Grounds(promises, asked, silent, promote, 9))


def shape(found: Plan | None) -> str:
    """Full members + learners."""
    if found is None:
        return "none"
    view = found.decision.view
    return "".join(m.name for m in view.members) + "+" + "".join(m.name for m in view.learners)


# --- members ----------------------------------------------------------------------------------------------------------


def test_those_that_answered_go_on_and_one_that_is_heard_learns() -> None:
    view = view_of("abcde")
    answers = {n: promise(view, n) for n in "abc"}
    assert shape(decide(view, answers, silent="e")) == "abc+d"


def test_less_than_a_quorum_makes_no_view() -> None:
    view = view_of("abcd")
    assert decide(view, {n: promise(view, n) for n in "cd"}) is None
    assert shape(decide(view, {n: promise(view, n) for n in "ad"}, silent="bc")) == "ad+"


def test_the_largest_set_that_can_all_talk_stays_and_the_rest_learns() -> None:
    """SCENARIOS 14: d and a do not hear each other."""
    view = view_of("abcd")
    answers = {n: promise(view, n, hears="abc" if n == "a" else "bcd" if n == "d" else None) for n in "abcd"}
    assert shape(decide(view, answers)) == "abc+d"


def test_one_direction_of_hearing_is_not_enough() -> None:
    view = view_of("abc")
    answers = {"a": promise(view, "a"), "b": promise(view, "b", hears="bc"), "c": promise(view, "c")}
    assert shape(decide(view, answers)) == "ac+b"


def test_a_leaver_votes_and_is_out() -> None:
    view = view_of("abc")
    answers = {"a": promise(view, "a"), "b": promise(view, "b", leave=True), "c": promise(view, "c")}
    found = decide(view, answers)
    assert shape(found) == "ac+" and found is not None
    assert found.decision.left == ("b",), "which voids the leases granted to it"


def test_a_restarted_voter_becomes_a_learner_while_a_live_one_answers() -> None:
    """Counter-example 5: it would outvote the one that has the state."""
    view = view_of("abc")
    found = decide(view, {"a": promise(view, "a", live=False), "b": promise(view, "b")}, silent="c")
    assert shape(found) == "b+a" and found is not None
    assert found.decision.view.learners[0].incarnation == 2


def test_after_total_failure_the_restarted_return_in_the_old_seniority() -> None:
    view = view_of("abcd")
    found = decide(view, {n: promise(view, n, live=False) for n in "dca"}, silent="b")
    assert shape(found) == "acd+" and found is not None
    assert {m.incarnation for m in found.decision.view.members} == {2}


@pytest.mark.parametrize(("answered", "expected"), [("abc", "abc+"), ("ab", "none")])
def test_birth_needs_all_founders(answered: str, expected: str) -> None:
    view = view_of("abc", view=0)
    assert shape(decide(view, {n: promise(view, n, live=False) for n in answered})) == expected


def test_joiners_learn_first() -> None:
    view = view_of("ab")
    joins = [Wish(member(n), True, (), (), False) for n in "yx"]
    assert shape(decide(view, {n: promise(view, n) for n in "ab"}, wishes=joins)) == "ab+xy"


@pytest.mark.parametrize("silent", ["", "x"])
@pytest.mark.parametrize(("incarnation", "expected"), [(4, 5), (5, 5), (6, 6)])
def test_an_earlier_life_does_not_take_the_place_of_a_later_one(silent: str, incarnation: int, expected: int) -> None:
    """Seed 90036323: a wish was remembered from before the later one was let in.  The view changed to the earlier life,
    and to the later one again: it had been removed, and came back."""
    view = View(9, 5, (member("a"), member("b")), (member("x", 5),), (), (("x", 3),))
    found = decide(
        view,
        {n: promise(view, n) for n in "ab"},
        wishes=[Wish(member("x", incarnation), True, (), (), False)],
        silent=silent,
    )
    assert found is not None
    there = [m.incarnation for m in found.decision.view.learners]
    assert there == ([] if silent and incarnation <= 5 else [expected])


def test_at_most_as_many_are_promoted_as_there_are_full_members() -> None:
    """Counter-example 5: losing them all must stop nothing."""
    view = view_of("ab", "wxyz")
    assert shape(decide(view, {n: promise(view, n) for n in "abwxyz"}, promote="wxyz")) == "abwx+yz"


@pytest.mark.parametrize(
    "why_not", ["not asked for", "no answer", "not synced", "does not hear a", "is not heard by b"]
)
def test_a_learner_is_not_promoted_unless(why_not: str) -> None:
    view = view_of("ab", "x", Group(1, TOTAL, ("a", "b"), ("x",)))
    progress = has((0, 0), synced=why_not != "not synced")
    answers = {
        "a": promise(view, "a", [has((0, 0))]),
        "b": promise(view, "b", [has((0, 0))], hears="ab" if why_not == "is not heard by b" else None),
        "x": promise(view, "x", [progress], hears="bx" if why_not == "does not hear a" else None),
    }
    if why_not == "no answer":
        del answers["x"]
    assert shape(decide(view, answers, promote="" if why_not == "not asked for" else "x")) == "ab+x"


# --- cuts -------------------------------------------------------------------------------------------------------------


def cut_of(spec: GroupSpec, received: Mapping[str, tuple[int, ...]], members: str = "abc") -> Plan:
    view = view_of(members, "", Group(1, spec, tuple(members)))
    answers = {n: promise(view, n, [has(row)]) for n, row in received.items()}
    found = decide(view, answers, silent="".join(set(members) - set(received)))
    assert found is not None
    return found


def test_a_uniform_group_takes_the_minimum_and_nobody_must_fetch() -> None:
    found = cut_of(TOTAL, {"a": (5, 2, 3), "b": (4, 3, 1)})
    assert found.decision.cuts[0].upto == (4, 2, 1)
    assert found.needs == {}


def test_another_group_takes_the_maximum_fetched_before_it_is_proposed() -> None:
    """Counter-examples 1 and 2."""
    found = cut_of(FIFO, {"a": (5, 2, 3), "b": (4, 3, 1)})
    assert found.decision.cuts[0].upto == (5, 3, 3)
    assert set(found.needs) == {"a", "b"}
    assert found.holders[1] == ("a", "b", "a")


def test_the_cut_of_random_promises_keeps_what_it_must() -> None:
    """Whatever answered: a uniform cut is within what each answering host received, another one covers what each
    continuing host may have delivered; and each part has a holder that answered."""
    for seed in range(2_000):
        rng = random.Random(seed)
        names = "abcde"[: rng.randint(1, 5)]
        spec = rng.choice((TOTAL, FIFO))
        hosts = "".join(sorted(rng.sample(names, rng.randint(1, len(names)))))
        view = view_of(names, "", Group(1, spec, tuple(hosts)))
        rows = {n: tuple(rng.randint(0, 5) for _ in hosts) for n in hosts}
        kept_after = {n: tuple(rng.randint(0, number) for number in rows[n]) for n in hosts}
        answers = {
            n: promise(
                view,
                n,
                [has(rows[n], released=kept_after[n])] if n in hosts else [],
                hears="".join(x for x in names if x == n or rng.random() < 0.9),
                clock=rng.randrange(100),
            )
            for n in names
            if rng.random() < 0.85
        }
        found = decide(view, answers)
        if found is None:
            continue
        new = found.decision.view
        assert new.id == 6 and is_quorum(view, answers)
        kept = [m.name for m in new.members]
        assert is_quorum(view, kept), f"seed {seed}: all live, so they are a quorum by themselves"
        assert kept == [n for n in names if n in kept], "in the old seniority"
        assert found.decision.clock == max(p.clock for p in answers.values())
        group = new.group(1)
        assert (group is None) == (not set(hosts) & set(kept)), f"seed {seed}: lost with its last host only"
        if group is None:
            continue
        (cut,) = found.decision.cuts
        for author, upto in enumerate(cut.upto):
            answered = [rows[n][author] for n in hosts if n in answers]
            staying = [rows[n][author] for n in hosts if n in kept]
            assert upto == (min(answered) if spec is TOTAL else max(staying)), f"seed {seed}"
            holder, able = found.holders[1][author], [n for n in hosts if n in answers and rows[n][author] >= upto]
            assert holder in able
            assert kept_after[holder][author] == min(kept_after[n][author] for n in able), "it keeps the most"
        lacking = {n for n in group.hosts if any(a < b for a, b in zip(rows[n], cut.upto, strict=True))}
        assert set(found.needs) == lacking, f"seed {seed}"


# --- groups -----------------------------------------------------------------------------------------------------------


def test_a_host_that_restarted_lowers_no_minimum() -> None:
    """Counter-example 19: it reports no progress at all, and learns."""
    view = view_of("abc", "", Group(1, TOTAL, ("a", "b", "c")))
    answers = {n: promise(view, n, [has((4, 4, 4))]) for n in "ab"}
    answers["c"] = promise(view, "c", live=False)
    found = decide(view, answers)
    assert found is not None and found.decision.cuts[0].upto == (4, 4, 4)
    assert found.decision.view.groups[0].hosts == ("a", "b")


def test_a_group_is_founded_by_the_full_members_that_want_it() -> None:
    view = view_of("abc")
    answers = {n: promise(view, n, hosts=(TOTAL,) if n != "b" else ()) for n in "abc"}
    joins = [Wish(member("x"), True, (TOTAL,), (), False)]
    found = decide(view, answers, wishes=joins)
    assert found is not None
    (group,) = found.decision.view.groups
    assert (group.hosts, group.learners, group.id) == (("a", "c"), ("x",), 6 << 16)


def test_one_that_wants_to_host_learns_and_one_that_does_not_any_more_is_let_go() -> None:
    view = view_of("abc", "", Group(1, TOTAL, ("a", "b")))
    progress = [has((0, 0))]
    answers = {
        "a": promise(view, "a", progress, hosts=(TOTAL,)),
        "b": promise(view, "b", progress, unhosts=("t",)),
        "c": promise(view, "c", hosts=(TOTAL,)),
    }
    found = decide(view, answers)
    assert found is not None
    assert found.decision.view.groups[0].hosts == ("a",) and found.decision.view.groups[0].learners == ("c",)


def test_a_memory_group_without_hosts_is_gone_and_a_new_one_has_another_id() -> None:
    """DESIGN section 8; SCENARIOS 20."""
    view = view_of("abc", "", Group(1, TOTAL, ("c",)))
    answers = {n: promise(view, n, hosts=(TOTAL,)) for n in "ab"}
    found = decide(view, answers, silent="c")
    assert found is not None and found.decision.cuts == ()
    assert [g.id for g in found.decision.view.groups] == [6 << 16]
