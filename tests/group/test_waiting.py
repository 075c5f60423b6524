"""A node that cannot act says what it waits for (DESIGN sections 4 and 8: one that finds nobody waits and says so)."""

from phalanx.group.waiting import Waiting
from tests.group.cluster import Cluster
from tests.group.durables import D, power_cut


def says(cluster: Cluster, name: str) -> Waiting:
    return cluster.machine(name).waiting


def test_a_founder_names_the_founders_that_are_missing() -> None:
    with Cluster("abc", late="bc") as cluster:
        cluster.run(2)
        assert says(cluster, "a") == Waiting("waits for b at b and c at c of its founders", ("b", "c"))
        cluster.restart("b")
        cluster.run(2)
        assert says(cluster, "a").missing == ("c",)
        cluster.restart("c")
        cluster.until_members("abc")
        assert says(cluster, "a") == Waiting()


def test_a_node_whose_last_view_has_no_quorum_names_who_is_missing() -> None:
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        power_cut(cluster, "abc")
        cluster.restart("c")
        cluster.run(2)
        text = says(cluster, "c").text
        assert text.startswith("waits for a quorum of its last view, ") and text.endswith("(a b c): missing a and b")
        cluster.restart("b")
        cluster.until_members("bc")
        assert says(cluster, "c") == Waiting()


def test_a_member_that_is_cut_off_names_who_is_missing() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        view = cluster.view("c")
        cluster.partition("ab", "c")
        cluster.run(2)
        assert view is not None
        told = f"is cut off from a quorum of view {view.id}: missing a and b"
        assert says(cluster, "c") == Waiting(told, ("a", "b"))
        cluster.heal()
        cluster.converge("abc")


def test_a_stranger_says_whom_it_asks_and_what_came_of_it() -> None:
    with Cluster("abd", founders="ab", late="d") as cluster:
        cluster.until_members("ab", groups=False)
        cluster.seeds["d"] = ("x", "y")
        cluster.restart("d")
        cluster.run(3.5)
        assert says(cluster, "d") == Waiting("asks to be let in at x, y: no answer for 3 s", (), ("x", "y"))
