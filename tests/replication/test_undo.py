"""What it costs to undo commands that raise (SCENARIOS 36): the state is decoded for each, and encoded seldom."""

import pytest

from phalanx.replication.objects import Invocation
from phalanx.replication.undo import JOURNAL_COMMANDS
from tests.replication.samples import ACCOUNT, Account, account, delivered, opened, run

ADD, FAIL = ACCOUNT.invoke(Account.add, 1_000_000_000), ACCOUNT.invoke(Account.fail)


class Story:
    """An account, what is done to it, and how often its state is encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encode = ACCOUNT.state.snapshot
        self.encodings = 0

        def counted(instance: Account) -> bytes:
            self.encodings += 1
            return encode(instance)

        monkeypatch.setattr(ACCOUNT.state, "snapshot", counted)
        self.replica = account()
        self._session = opened(self.replica)
        self._number = 0

    def do(self, *invocations: Invocation[object]) -> int:
        """How many encodings that took."""
        before = self.encodings
        for invocation in invocations:
            self._number += 1
            self.replica.deliver(delivered(2_000, run(self._session, self._number, self._number, invocation)))
        return self.encodings - before


def test_the_state_is_not_encoded_for_each_command_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(monkeypatch)
    assert story.do(*[ADD] * 3 * JOURNAL_COMMANDS) == 3
    assert story.do(*[FAIL] * 50) == 0, "nothing has changed since"
    assert 1 <= story.do(*[ADD, FAIL] * 100) <= 10
    assert story.replica.object.balance == (3 * JOURNAL_COMMANDS + 100) * 1_000_000_000
    assert len(story.replica.object.log) == 3 * JOURNAL_COMMANDS + 100


def test_no_more_is_run_again_than_encoding_would_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that is long is cut as soon as it is needed, and one of a small state always."""
    story = Story(monkeypatch)
    story.do(*[ADD] * (JOURNAL_COMMANDS - 1))
    assert story.do(FAIL) == 1
    assert story.do(FAIL) == 0
    small = Story(monkeypatch)
    assert [small.do(ADD, FAIL) for _ in range(5)] == [1] * 5
