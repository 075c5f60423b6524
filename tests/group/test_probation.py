"""What demotions cost, and whom."""

from phalanx.group.config import Timing
from phalanx.group.probation import FORGIVEN, LEVEL_MAX, SOON, Probation
from phalanx.model.clock import SECOND
from phalanx.model.view import Member, View

A, B = Member("a", "a:1", 1), Member("b", "b:1", 1)
FULL = View(1, 3, (A, B))
DEMOTED = View(1, 4, (A,), (B,))


class Account:
    def __init__(self) -> None:
        self.probation = Probation(Timing())
        self.now = 0

    def demote(self, after_s: int = 0) -> int:
        """Seconds that `b` has to wait."""
        self.now += after_s * SECOND
        self.probation.changed(FULL, DEMOTED, self.now)
        return (self.probation.until(B) - self.now) // SECOND

    def promote(self, after_s: int) -> None:
        self.now += after_s * SECOND
        self.probation.changed(DEMOTED, FULL, self.now)


def test_one_that_lags_soon_after_its_promotion_waits_four_times_as_long_up_to_the_longest() -> None:
    """A member paused for 300 ms in every second is demoted twice in six seconds, not four times."""
    account = Account()
    waits = [account.demote()]
    for _ in range(4):
        account.promote(waits[-1])
        waits.append(account.demote(after_s=SOON - 1))
    assert waits == [1, 4, 16, 1 << LEVEL_MAX, 1 << LEVEL_MAX]


def test_one_that_kept_up_for_a_while_waits_twice_as_long_and_is_forgiven_in_the_end() -> None:
    account = Account()
    assert account.demote() == 1
    account.promote(1)
    assert account.demote(after_s=SOON) == 2
    account.promote(2)
    assert account.demote(after_s=FORGIVEN) == 1


def test_a_new_incarnation_has_no_account_and_that_of_the_old_is_closed() -> None:
    """A process that was restarted is not slow for what its predecessor was."""
    account = Account()
    account.demote()
    again = Member("b", "b:1", 2)
    account.probation.changed(DEMOTED, View(1, 5, (A,), (again,)), account.now)
    assert account.probation.until(again) == 0
    assert list(account.probation.ends()) == [], "no more entries than members and learners"
