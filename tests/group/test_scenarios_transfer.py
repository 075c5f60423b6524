"""State transfer across views that cut off what a donor had delivered (DESIGN sections 6 and 8)."""

import pytest

from phalanx.group.messages import Accepted, Chunk, Commit, Data, Fetch, Promise
from phalanx.group.transfer import Transfer
from phalanx.model.view import Order
from tests.group.cluster import Cluster, group_of


def snapshot_beyond_the_cut() -> None:
    """f learns, and fetches from e, which has delivered on receipt what only it and the sender have.  The sender dies, e
    does not answer, and the cut leaves the message out; f gets the snapshot in the turn in which it learns of that."""
    with Cluster("abcdef", group_of(Order.FIFO), founders="abcde", late="f") as cluster:
        cluster.until_members("abcde")
        cluster.send("b", "kept")
        cluster.until_all_deliver("abcde", "kept")
        fetches = cluster.drop(Fetch)
        cluster.restart("f")
        cluster.until(lambda: cluster.view("f") is not None, "a learner")
        cluster.run(0.02)
        cluster.drop(Data, source="a", target="bcdf")
        cluster.send("a", "lost")
        cluster.until(lambda: "lost" in cluster.deliveries("e"), "a delivery")
        pieces = cluster.hold(Chunk, source="e", target="f")
        fetches.lift()
        cluster.until(lambda: bool(pieces.caught), "the snapshot")
        told = cluster.hold(Accepted, Commit, target="f")
        cluster.drop(Promise, source="e")
        cluster.crash("a")
        cluster.until(lambda: cluster.members("b") == "bcd", "a view without a and e")
        cluster.let_go(pieces)
        cluster.let_go(told)
        cluster.until_members("bcdf")
        assert cluster.deliveries("b") == cluster.deliveries("f") == ["kept"]


def test_a_snapshot_that_goes_beyond_the_cut_is_dropped() -> None:
    snapshot_beyond_the_cut()


def test_a_snapshot_beyond_the_cut_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without the rule."""
    monkeypatch.setattr(Transfer, "_is_sound", lambda *_: True)
    with pytest.raises(AssertionError, match="lost"):
        snapshot_beyond_the_cut()
