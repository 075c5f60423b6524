"""Logs that are not what they were: an end that was cut off, a log in another's place (DESIGN section 8; SCENARIOS 6)."""

import msgspec

from phalanx.group.config import Limits
from phalanx.group.messages import Data
from phalanx.model.machine import Note
from phalanx.model.view import GroupSpec
from tests.group.cluster import Cluster
from tests.group.durables import D, cluster_of, cut_log, drop_batches, power_cut, sent, suspended
from tests.group.rules import shown


def test_12_a_log_that_was_cut_off_is_no_proof_that_there_was_nothing_more() -> None:
    """Counter-example 12 for logs: of c's log the last write cannot be read, and it is the first one back."""

    def schedule() -> None:
        with cluster_of("abcd", "cd") as cluster:
            cluster.until_members("abcd")
            sent(cluster, "c", "m")
            power_cut(cluster, "cd")
            drop_batches(cluster, "c")
            cluster.until_members("ab", groups=False)
            cluster.restart("c")
            cluster.until_members("abc", groups=False)
            cluster.run(2)
            cluster.restart("d")
            cluster.converge("abcd")
            assert "m" in cluster.deliveries("c"), "acknowledged and lost"

    shown(schedule, "a torn log counts as whole", wrong="durability|lost")


def test_most_of_the_hosts_may_go_on_even_if_all_their_logs_were_torn() -> None:
    """At a power cut torn tails are the rule.  No more than a minority of them hides something that was acknowledged."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        sent(cluster, "a", "m")
        power_cut(cluster, "abc")
        for name in "ab":
            cut_log(cluster, name, 0)
        cluster.restart(*"ab")
        cluster.until_members("ab")
        assert cluster.deliveries("b") == ["m"]


class Noted:
    """What nodes of a cluster note."""

    def __init__(self, cluster: Cluster) -> None:
        self._notes: list[Note] = []
        cluster.world.stepped = lambda _, output: self._notes.extend(output.notes)

    def of(self, what: str) -> list[tuple[object, ...]]:
        """The details of these notes."""
        return [note.detail for note in self._notes if note.what == what]


def failed_with_more_in_one_log(cluster: Cluster, payloads: int = 3) -> int:
    """All hosts have failed, and all but c's logs are torn, which are without what c sent last.  In which view."""
    cluster.until_members("abc")
    sent(cluster, "a", "m")
    cluster.drop(Data, source="c")
    for number in range(payloads):
        cluster.send("c", f"c's {number}")
        cluster.run(0.01)
    power_cut(cluster, "abc")
    for name in "ab":
        cut_log(cluster, name, 0)
    cluster.world.links.rules.clear()
    return cluster.views()[-1].id


def test_one_whose_log_the_group_went_on_without_says_what_it_drops() -> None:
    """Two torn logs of three suffice, and the whole one comes too late: what only it has may have been acknowledged."""
    with Cluster("abc", D) as cluster:
        noted = Noted(cluster)
        view = failed_with_more_in_one_log(cluster)
        cluster.restart(*"ab")
        cluster.until_members("ab")
        sent(cluster, "b", "n")
        assert noted.of("log.left_out") == []
        cluster.restart("c")
        cluster.converge("abc")
        assert noted.of("log.left_out") == [("g", view, 3, True)]
        cluster.crash("c")
        cluster.restart("c")
        cluster.converge("abc")
        assert len(noted.of("log.left_out")) == 1, "it is told once"


def test_one_whose_whole_log_is_there_drops_nothing() -> None:
    with Cluster("abc", D) as cluster:
        noted = Noted(cluster)
        failed_with_more_in_one_log(cluster)
        cluster.restart(*"ac")
        cluster.until_members("ac")
        cluster.restart("b")
        cluster.converge("abc")
        assert noted.of("log.left_out") == []
        assert {"m", "c's 0", "c's 2"} <= set(cluster.deliveries("b"))


def test_what_one_drops_that_others_outlived_was_delivered_by_nobody() -> None:
    with Cluster("abc", D) as cluster:
        noted = Noted(cluster)
        cluster.until_members("abc")
        sent(cluster, "a", "m")
        lost = cluster.drop(Data, source="c")
        cluster.send("c", "c's")
        cluster.run(0.02)
        view = cluster.views()[-1].id
        power_cut(cluster, "c")
        cluster.until_members("ab")
        lost.lift()
        cluster.restart("c")
        cluster.converge("abc")
        assert noted.of("log.left_out") == [("g", view, 1, False)]


def test_one_that_is_sent_the_whole_state_says_that_it_cannot_tell_what_it_drops() -> None:
    with Cluster("abc", D, limits=Limits(retained=100)) as cluster:
        noted = Noted(cluster)
        view = failed_with_more_in_one_log(cluster)
        cluster.restart(*"ab")
        cluster.until_members("ab")
        sent(cluster, "b", *(f"{number}{'.' * 100}" for number in range(5)))
        cluster.restart("c")
        cluster.converge("abc")
        assert noted.of("log.left_out") == []
        assert noted.of("log.replaced") == [("g", view, 4)]


def test_with_fewer_hosts_than_copies_a_torn_log_suffices_for_nothing_was_sent() -> None:
    """The durable scenario's seeds 12002063 and 13004713: of the last two of three hosts one has a new log, and the end
    of the other's is cut off."""
    spec = msgspec.structs.replace(D, min_copies=3)

    def schedule() -> None:
        with cluster_of("abcd", "bcd", spec) as cluster:
            cluster.until_members("abcd")
            sent(cluster, "b", "m")
            cluster.crash("d")
            cluster.until_members("abc")
            cluster.send("b", "too few copies")
            cluster.run(1)
            power_cut(cluster, "bc")
            cut_log(cluster, "b", 0)
            lost = cluster.world.nodes["c"]
            lost.log.clear()
            lost.log_lost = True
            cluster.restart(*"bc")
            cluster.until(lambda: cluster.deliveries("b") == ["m"], "the group, from b's log alone")
            cluster.restart("d")
            cluster.until_members("abcd")
            sent(cluster, "b", "n")

    shown(schedule, "a group without its copies may have sent", wrong="from b's log alone")


def test_a_cut_log_is_whole_again_once_a_decided_cut_is_in_it() -> None:
    with cluster_of("abcd", "cd") as cluster:
        cluster.until_members("abcd")
        power_cut(cluster, "c")
        cut_log(cluster, "c", 0)
        cluster.restart("c")
        cluster.until_members("abcd")
        sent(cluster, "d", "m")
        power_cut(cluster, "cd")
        cluster.until_members("ab", groups=False)
        cluster.restart("c")
        cluster.until(lambda: cluster.deliveries("c") == ["m"], "the group, from c alone")


def test_a_log_that_took_the_place_of_a_damaged_one_counts_for_nothing() -> None:
    """SCENARIOS 6: what was in it is not known, and "nothing" would be a guess, even about the view that founded it."""

    def schedule() -> None:
        with cluster_of("abcd", "cd") as cluster:
            cluster.until_members("abcd")
            sent(cluster, "c", "m")
            power_cut(cluster, "cd")
            node = cluster.world.nodes["c"]
            node.log.clear()
            node.log_lost = True
            cluster.until_members("ab", groups=False)
            cluster.restart("c")
            cluster.until_members("abc", groups=False)
            cluster.run(2)
            assert suspended(cluster, "a") == "cd", "c knows nothing"
            cluster.restart("d")
            cluster.converge("abcd")
            assert "m" in cluster.deliveries("c")

    shown(schedule, "a log in place of a damaged one counts as empty", wrong="c knows nothing|durability")


def test_that_a_log_was_lost_is_not_forgotten_when_its_successor_is_shortened() -> None:
    """c's log is damaged, and that of another group in its successor is shortened, while d, which has all of g, is down.
    That of the older records nothing is known must outlive them (`runtime.log`, sim: `Node.log_lost`)."""
    other = GroupSpec("h", durable=True)
    hosts = {"a": (other,), "b": (other,), "c": (D, other), "d": (D,), "e": (D,)}

    def schedule() -> None:
        with Cluster("abcde", D, other, hosts=hosts, limits=Limits(log=2_000)) as cluster:
            cluster.until_members("abcde")
            sent(cluster, "d", "m")
            power_cut(cluster, "cde")
            cluster.world.disks.rot(cluster.world.nodes["c"], 0.0)
            cluster.restart("c")  # the quorum is back
            cluster.until_members("abc", groups=False)
            shortened = cluster.world.notes["log.shortened"]
            for number in range(60):
                cluster.send("a", f"{number}" * 20, group="h")
                cluster.run(0.05)
            assert cluster.world.notes["log.shortened"] > shortened + 2
            cluster.crash("c")
            cluster.restart("c")
            cluster.until_members("abc", groups=False)
            cluster.run(2)
            assert suspended(cluster, "a") == "cde", "c knows nothing"
            cluster.restart("d", "e")
            cluster.converge("abcde")
            assert "m" in cluster.deliveries("c")

    shown(schedule, "a log in place of a damaged one counts as empty", wrong="c knows nothing|durability")
