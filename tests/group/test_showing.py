"""To whom a row is owed, at once and later."""

from phalanx.group.config import Timing
from phalanx.group.messages import Ack, Data
from phalanx.group.showing import Showing
from phalanx.model.clock import MILLISECOND
from phalanx.model.view import Order
from tests.group.cluster import Cluster, group_of


def owes(showing: Showing) -> bool:
    return showing.owed


def test_news_goes_at_once_to_authors_and_to_those_who_ask_and_later_to_the_rest() -> None:
    showing = Showing("bcd")
    assert not owes(showing)
    showing.asked("c")
    assert owes(showing) and showing.waiting(["b"]) == {"b", "c"}
    showing.shown_to("bc")
    assert owes(showing) and showing.waiting(["b"]) == set(), "what they know is no news"
    assert showing.unaware() == {"d"}
    showing.shown_to("d")
    assert not owes(showing)


def test_what_was_shown_before_news_does_not_count() -> None:
    showing = Showing("bc")
    showing.asked("b")
    showing.shown_to("b")
    showing.changed()
    assert (showing.waiting([]), showing.unaware()) == (set(), {"b", "c"})
    showing.shown_to("c")
    assert owes(showing) and showing.unaware() == {"b"}


def test_a_host_without_peers_owes_nobody() -> None:
    showing = Showing(())
    showing.changed()
    assert not owes(showing)


def test_one_that_is_sent_what_it_has_says_so_at_once() -> None:
    """Or its sender would send again until the next heartbeat."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        again = cluster.copy(Data, source="a", target="b")
        cluster.send("a", "m")
        cluster.until_all_deliver("abc", "m")
        cluster.run(0.2)
        acks = cluster.copy(Ack, source="b")
        assert cluster.let_go(again) == 1
        cluster.run(0.0005)
        assert [target.name for target, _ in acks.caught] == ["a"]


def test_without_delay_all_are_shown_everything_at_once() -> None:
    for row_delay, expected in ((0, "abc"), (20 * MILLISECOND, "a")):
        with Cluster("abc", timing=Timing(row_delay=row_delay)) as cluster:
            cluster.until_members("abc")
            cluster.run(0.2)
            cluster.send("a", "m")
            cluster.run(0.005)
            assert "".join(name for name in "abc" if "m" in cluster.deliveries(name)) == expected
            cluster.until_all_deliver("abc", "m")


def test_a_read_does_not_wait_for_rows_that_others_send_in_their_own_time() -> None:
    """Under a lease nobody has to be asked; but what just came here is delivered once all have shown it."""
    for lease_ms in (0, 500):
        with Cluster(
            "abc", group_of(Order.TOTAL, lease_ms=lease_ms), timing=Timing(row_delay=20 * MILLISECOND)
        ) as cluster:
            cluster.until_members("abc")
            cluster.run(0.2)
            cluster.send("a", "m")
            cluster.run(0.001)
            assert cluster.deliveries("b") == []
            read = cluster.read("b")
            cluster.run(0.005)
            assert read.reached and cluster.deliveries("b") == ["m"]
