"""What the scenario `store` demands of leases: `lab.terms`."""

from phalanx.lab.terms import SLACK_NS, Terms
from phalanx.model.clock import SECOND

HERE, THERE = ("n0", 1, 7), ("n1", 1, 7)


def terms() -> Terms:
    """One lease of nine seconds, asked for after ten."""
    made = Terms()
    made.clock(0, "n0", 0, 1)
    made.clock(0, "n1", 0, 1)
    made.granted(5, 9 * SECOND, 10 * SECOND)
    assert made.look(11 * SECOND, HERE, 1, {5}) is None
    return made


def ends(made: Terms, seconds: int, position: int = 2) -> str | None:
    return made.look(seconds * SECOND, HERE, position, ())


def test_a_lease_that_ends_before_its_time_is_early() -> None:
    assert SLACK_NS == SECOND
    assert ends(terms(), 18) is None
    told = ends(terms(), 17)
    assert told == "early: lease 5 of 9 s ended after 7.000 s, and must last 8.000 s"


def test_its_time_is_counted_from_when_it_was_kept_alive_last() -> None:
    made = terms()
    made.kept(5, 12 * SECOND)
    made.kept(5, 11 * SECOND)
    assert ends(made, 19) is not None
    made.kept(6, 12 * SECOND)
    assert ends(made, 20) is None


def test_what_was_revoked_was_never_seen_or_is_gone_with_a_state_that_is_older_is_not_early() -> None:
    revoked = terms()
    revoked.revoked(5)
    assert ends(revoked, 12) is None
    assert terms().look(12 * SECOND, THERE, 2, ()) is None
    assert ends(terms(), 12, position=0) is None


def test_each_leap_of_a_clock_may_take_a_third_of_what_is_left() -> None:
    for leaps, least in enumerate((8, 5, 3)):
        for seconds in (least, least - 1):
            made = terms()
            made.clock(12 * SECOND, "n1", -SECOND, 1)
            for number in range(leaps):
                made.clock(12 * SECOND, "n0", (number + 1) * SECOND, 1)
            assert (ends(made, 10 + seconds) is None) == (seconds == least)
    made = terms()
    made.clock(6 * SECOND, "n0", SECOND, 1)
    assert ends(made, 17) is not None, "that was long ago"


def test_a_view_of_others_whose_clocks_differ_is_a_leap_and_one_of_equal_clocks_is_none() -> None:
    for offset in (0, -SECOND):
        made = terms()
        made.clock(9 * SECOND, "n1", offset, 1)
        made.clock(12 * SECOND, "n0", 0, 2)
        assert (ends(made, 15) is None) == (offset != 0)
