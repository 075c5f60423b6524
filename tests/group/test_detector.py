"""group.detector: whom to suspect (DESIGN section 7)."""

import random

import pytest

from phalanx.group.config import Timing
from phalanx.group.detector import Claims, Detector
from phalanx.model.clock import MILLISECOND
from phalanx.model.view import Group, GroupSpec, Member, View

T = Timing()
BEAT = 50 * MILLISECOND


class Witness:
    """The detector of `me`, to which the others show heartbeats with claims made of a table of cut links."""

    def __init__(self, names: str, me: str = "a", full: int = 7, groups: str = "") -> None:
        """`full`: so many of them are full members; the rest learns.  `groups`: the hosts of each."""
        self.names, self.me, self.now = names, me, 0
        self.detector = Detector(me, T)
        members = tuple(Member(n, n, 1) for n in names)
        hosted = tuple(Group(i, GroupSpec(hosts), tuple(hosts)) for i, hosts in enumerate(groups.split()))
        self.detector.begin(View(1, 1, members[:full], learners=members[full:], groups=hosted), 0)
        self.lost: set[tuple[str, str]] = set()
        self._quiet, self._since = "", 0
        self.accusations: dict[str, str] = {}
        """Whom each of the others suspects, with grounds of its own."""
        self.hearsay: dict[str, str] = {}
        """Whom it suspects because others do."""
        self.rumours = True
        """The others say of those that they hear whom these said to hear."""

    def cut(self, *links: str) -> None:
        for a, b in map(tuple, links):
            self.lost |= {(a, b), (b, a)}

    def fall_silent(self, names: str) -> None:
        """Nothing comes from these any more; the others notice after their time."""
        self._quiet, self._since = names, self.now

    def run(self, nanoseconds: int) -> str:
        """Heartbeats for that long.  Returns whom it suspects then."""
        end = self.now + nanoseconds
        while self.now < end:
            self.now += BEAT
            noticed = self._quiet if self.now >= self._since + T.suspect_after else ""
            for n in self.names:
                if n != self.me and n not in self._quiet and (n, self.me) not in self.lost:
                    self.detector.heard(n, self.now)
                    self.detector.claimed(n, self._claims(n, noticed), self.now)
            self.detector.suspects(self.now)
        return self.suspects()

    def _claims(self, name: str, noticed: str) -> Claims:
        hears = {n: {x for x in self.names if x not in noticed and (x, n) not in self.lost} for n in self.names}
        masks = {n: sum(1 << self.names.index(x) for x in hears[n]) for n in self.names}
        others = tuple(masks[n] if n in hears[name] else 0 for n in self.names) if self.rumours else ()
        grounds = frozenset(self.accusations.get(name, ""))
        return Claims(frozenset(hears[name]), grounds | frozenset(self.hearsay.get(name, "")), grounds, others)

    def suspects(self) -> str:
        return "".join(sorted(self.detector.suspects(self.now)))


def test_nobody_is_suspected_while_all_are_heard() -> None:
    assert Witness("abcde").run(10 * T.suspect_after) == ""


def test_silence_is_suspicion_after_its_time_and_not_before() -> None:
    witness = Witness("abc")
    witness.run(4 * BEAT)
    witness.fall_silent("c")
    assert witness.run(T.suspect_after - BEAT) == ""
    assert witness.run(BEAT) == "c"


def test_a_suspicion_ends_with_its_grounds() -> None:
    witness = Witness("abc")
    witness.fall_silent("c")
    witness.run(2 * T.suspect_after)
    witness.fall_silent("")
    assert witness.run(BEAT) == ""


def test_evidence_that_the_process_is_gone_is_suspicion_at_once() -> None:
    """DESIGN section 7: a killed process costs milliseconds, not a timeout."""
    witness = Witness("abc")
    witness.run(4 * BEAT)
    witness.fall_silent("b")
    witness.detector.is_gone("b")
    assert witness.suspects() == "b"


def test_one_that_others_vouch_for_is_weighed_before_it_is_suspected() -> None:
    """SCENARIOS 14: a hears c no more, b does; of {a, b} and {b, c} the one with the elder stays."""
    witness = Witness("abc")
    witness.run(4 * BEAT)
    witness.cut("ac")
    assert witness.run(T.suspect_after) == ""
    assert witness.run(T.patience + 2 * BEAT) == "c"
    assert not witness.detector.aside


def test_one_outside_the_largest_set_steps_aside() -> None:
    """SCENARIOS 14: the same cut as c sees it: it does not coordinate against a."""
    witness = Witness("abc", me="c")
    witness.run(4 * BEAT)
    witness.cut("ac")
    witness.run(T.suspect_after + T.patience + 2 * BEAT)
    assert witness.detector.aside


def test_the_bridge_goes_with_the_elders() -> None:
    witness = Witness("abcde", me="c")
    witness.run(4 * BEAT)
    witness.cut("ad", "ae", "bd", "be")
    assert witness.run(T.suspect_after + T.patience + 4 * BEAT) == "de"


@pytest.mark.parametrize(("rumours", "expected"), [(True, "de"), (False, "")])
def test_a_link_between_two_that_we_do_not_hear_is_known_from_those_that_do(rumours: bool, expected: str) -> None:
    """SCENARIOS 14: a hears neither d nor e, nor do they each other; b and c say so.  Without that, a would believe in
    b, c, d, e as the largest set and step aside, d and e would stand aside as well, and nobody would coordinate."""
    witness = Witness("abcde")
    witness.rumours = rumours
    witness.run(4 * BEAT)
    witness.cut("ad", "ae", "de")
    assert witness.run(T.suspect_after + T.patience + 4 * BEAT) == expected
    assert witness.detector.aside is not rumours


def test_rumours_of_one_that_does_not_hear_it_say_nothing() -> None:
    """A mask of 0 is ignorance, no denial; so is a list that is too short."""
    witness = Witness("abcd")
    witness.run(4 * BEAT)
    witness.cut("ad")
    for others in ((), (0, 0, 0, 0), (15, 15)):
        witness.detector.begin(View(1, 1, tuple(Member(n, n, 1) for n in "abcd")), witness.now)
        for _ in range(int((T.suspect_after + T.patience) / BEAT) + 4):
            witness.now += BEAT
            for n in "bc":
                witness.detector.heard(n, witness.now)
                witness.detector.claimed(n, Claims(frozenset("abcd"), frozenset(), frozenset(), others), witness.now)
            witness.suspects()
        assert witness.suspects() == "d", others


def test_one_that_does_not_hear_us_is_cut_off_though_we_hear_it() -> None:
    """SCENARIOS 14: one-way loss."""
    witness = Witness("abc")
    witness.run(4 * BEAT)
    witness.lost.add(("a", "c"))
    assert witness.run(T.suspect_after - BEAT) == ""
    assert witness.run(2 * BEAT + T.patience + 2 * BEAT) == "c"
    assert witness.detector.is_cut_off("c", witness.now) and "c" in witness.detector.hears(witness.now)


def test_a_sleep_of_our_own_is_no_time_in_which_others_did_not_hear_us() -> None:
    witness = Witness("abc")
    witness.run(4 * BEAT)
    witness.lost.add(("a", "c"))
    witness.run(T.suspect_after - BEAT)
    _sleep(witness)
    assert not witness.detector.is_cut_off("c", witness.now)
    witness.run(3 * BEAT)
    assert witness.detector.is_cut_off("c", witness.now)


def test_a_sleep_of_our_own_is_no_time_in_which_accusations_were_weighed() -> None:
    witness = Witness("abc")
    witness.run(4 * BEAT)
    witness.cut("ac")
    while not witness.detector.is_cut_off("c", witness.now):
        assert witness.run(BEAT) == ""
    _sleep(witness)
    assert witness.suspects() == ""
    assert witness.run(T.patience + BEAT) == "c"


def _sleep(witness: Witness) -> None:
    witness.now += 3 * T.suspect_after
    witness.detector.excuse(3 * T.suspect_after)


@pytest.mark.parametrize(("accusers", "expected"), [("", ""), ("b", ""), ("bc", ""), ("bcd", "e")])
def test_more_than_half_of_those_heard_can_accuse_one(accusers: str, expected: str) -> None:
    """Of a, b, c and d that can judge e it takes more than two, and those who do not accuse count against."""
    witness = Witness("abcde")
    witness.accusations = dict.fromkeys(accusers, "e")
    assert witness.run(T.suspect_after) == expected


@pytest.mark.parametrize(
    ("groups", "accusations", "expected"),
    [
        ("bc", {"b": "c"}, "c"),
        ("bcd", {"b": "d", "c": "d"}, "d"),
        ("bcd", {"b": "d"}, ""),  # c does not say so
        ("bcd", {"b": "cd"}, "cd"),
        ("bc", {"b": "c", "c": "b"}, ""),  # who is right?
        ("bc", {"b": "d"}, ""),  # which is no host
        ("abc", {"b": "c"}, ""),  # we would see it ourselves
        ("b", {"b": "c"}, ""),
        ("bcde", {"b": "cde"}, ""),  # a and b are no quorum
        ("bc de", {"b": "c", "d": "e"}, "ce"),
    ],
)
def test_hosts_of_a_group_that_is_not_ours_say_who_holds_it_up(
    groups: str, accusations: dict[str, str], expected: str
) -> None:
    witness = Witness("abcde", groups=groups)
    witness.accusations = accusations
    assert witness.run(T.suspect_after) == expected
    witness.accusations = {}
    assert witness.run(BEAT) == "", "and when it does not any more"


def test_hosts_that_do_not_hear_one_do_not_say_that_it_lags() -> None:
    """That is a cut link, which is weighed."""
    witness = Witness("abcde", groups="bc")
    witness.cut("bc")
    witness.accusations = {"b": "c"}
    assert witness.run(T.patience // 2) == ""


def test_what_others_suspect_because_others_do_is_no_accusation() -> None:
    witness = Witness("abcde", groups="bce")
    witness.accusations = {"b": "e"}
    witness.hearsay = {"c": "e", "d": "e"}
    assert witness.run(T.suspect_after) == ""


@pytest.mark.parametrize("rumours_count", (False, True))
def test_a_rumour_ends_with_what_it_began_with(rumours_count: bool) -> None:
    """Seed 80009229: hosts of groups suspected one another because others did, who did because the hosts did; after the
    partition had healed it never came to an end, and each change of mind was a message to all."""
    lasting = [seed for seed in range(100) if _rumour_lasts(random.Random(seed), rumours_count)]
    assert bool(lasting) is rumours_count, lasting


def _rumour_lasts(rng: random.Random, rumours_count: bool) -> bool:
    """Some lag, in the eyes of some; then none does.  Is anybody suspected after each has heard each three times, in any
    order?"""
    names = "abcdefg"[: rng.randint(3, 7)]
    groups = " ".join("".join(rng.sample(names, 2)) for _ in range(3))
    detectors = {n: Witness(names, n, groups=groups).detector for n in names}
    hears = frozenset(names)

    def exchange(times: int) -> None:
        for _ in range(times):
            for one, other in rng.sample(
                [(a, b) for a in names for b in names if a != b], k=len(names) ** 2 - len(names)
            ):
                suspects = detectors[one].suspects(0)
                grounds = suspects if rumours_count else detectors[one].grounds
                detectors[other].claimed(one, Claims(hears, suspects, grounds), 0)

    for n in names:
        detectors[n].lag(frozenset(rng.sample(names, rng.randint(0, 2))))
    exchange(2)
    for n in names:
        detectors[n].lag(frozenset())
    exchange(3)
    return any(detector.suspects(0) for detector in detectors.values())


def test_accusations_of_learners_do_not_keep_each_other_alive() -> None:
    """They can change no view, so nothing would ever end it."""
    witness = Witness("abcde", me="b", full=1)
    witness.accusations = dict.fromkeys("cde", "a")
    assert witness.run(T.suspect_after) == ""


def test_one_that_did_not_answer_a_ballot_gets_another_chance_later() -> None:
    witness = Witness("abc")
    witness.run(BEAT)
    witness.detector.mark_stuck(["c", "a"], witness.now)
    assert witness.suspects() == "c", "never oneself"
    assert witness.run(2 * T.suspect_after - BEAT) == "c"
    assert witness.run(2 * BEAT) == ""
    witness.detector.mark_stuck(["c"], witness.now)
    witness.detector.answered("c")
    assert witness.suspects() == ""


def test_a_laggard_is_suspected_as_long_as_it_lags() -> None:
    witness = Witness("abc")
    witness.detector.lag(frozenset("b"))
    assert witness.suspects() == "b"
    witness.detector.lag(frozenset())
    assert witness.suspects() == ""


def test_a_new_view_gives_everybody_the_benefit_of_the_doubt_except_those_gone() -> None:
    witness = Witness("abcd")
    witness.fall_silent("bc")
    witness.run(2 * T.suspect_after)
    witness.detector.is_gone("b")
    witness.detector.mark_stuck(["d"], witness.now)
    assert witness.suspects() == "bcd"
    witness.detector.begin(View(1, 2, tuple(Member(n, n, 1) for n in "abcd")), witness.now)
    assert witness.suspects() == "b"


def test_the_deadline_is_when_the_judgement_changes_by_itself() -> None:
    witness = Witness("abc")
    witness.run(4 * BEAT)
    for _ in range(20):
        due = witness.detector.deadline
        assert due is not None and due > witness.now
        before = witness.suspects()
        witness.now = due - 1
        assert witness.suspects() == before
        witness.now = due
        if witness.suspects() != before:
            break
    assert witness.suspects() == "bc"
