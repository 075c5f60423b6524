"""Leaving the cluster or a group politely: whom it must not harm, and what it waits for (DESIGN section 4)."""

from itertools import pairwise

import pytest

from phalanx.group.config import Limits
from phalanx.group.messages import Fetch
from phalanx.model.events import Delivered, Excluded, GroupLost, Installed, Unhost
from phalanx.model.view import GroupSpec
from tests.group.cluster import Cluster

G, H = GroupSpec("g"), GroupSpec("h")


def farewells(cluster: Cluster, name: str) -> list[str]:
    return [farewell.reason for farewell in cluster.log(name, Excluded)]


def test_when_all_leave_at_once_each_is_told_so_and_the_eldest_is_last() -> None:
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        for name in "abc":
            cluster.leave(name)
        cluster.until(lambda: all(farewells(cluster, n) for n in "abc"), "three farewells")
        assert [farewells(cluster, n) for n in "bc"] == [["it left"]] * 2
        assert farewells(cluster, "a") == ["it left, and was the last full member"]
        assert [m.name for m in cluster.views()[-1].everyone] == ["a"]


def test_the_last_full_member_leaves_once_a_learner_has_taken_over() -> None:
    with Cluster("ab", founders="a", late="b") as cluster:
        cluster.until_members("a")
        cluster.send("a", "kept")
        fetches = cluster.drop(Fetch)
        cluster.restart("b")
        cluster.until(lambda: cluster.learners("a") == "b", "a learner")
        cluster.leave("a")
        cluster.run(3)
        assert cluster.members("a") == "a" and not farewells(cluster, "a"), "nobody else has the state"
        fetches.lift()
        cluster.until_members("b")
        assert farewells(cluster, "a") == ["it left"]
        assert cluster.deliveries("b") == ["kept"] and not cluster.log("b", GroupLost)


def test_all_hosts_of_a_group_leave_once_a_learner_has_taken_over() -> None:
    with Cluster("abcd", G, H, hosts={"a": (G,)}, founders="abc", late="d") as cluster:
        cluster.until_members("abc")
        cluster.send("b", "kept", group="h")
        cluster.until_all_deliver("bc", "kept", group="h")
        fetches = cluster.drop(Fetch)
        cluster.restart("d")
        cluster.until(lambda: cluster.learners("a") == "d", "a learner")
        cluster.leave("b")
        cluster.leave("c")
        cluster.run(3)
        assert cluster.members("a") == "ab", "the eldest of its hosts stays"
        fetches.lift()
        cluster.until_members("ad")
        assert cluster.deliveries("d", "h") == ["kept"] and not cluster.log("d", GroupLost)


@pytest.mark.parametrize("how", ["waits for a founder", "waits for its seeds"])
def test_one_that_is_in_no_view_leaves_at_once(how: str) -> None:
    with Cluster("ab", founders="ab" if how == "waits for a founder" else "b", late="b") as cluster:
        cluster.run(0.3)
        cluster.leave("a")
        cluster.run(0.001)
        assert farewells(cluster, "a") == ["it left before it was let in"]
        assert cluster.machine("a").is_excluded
        said: list[str] = []
        cluster.world.left = lambda _, what: said.append(what)
        cluster.run(5)
        assert said == [] and len(farewells(cluster, "a")) == 1, "it does nothing any more"


def test_unhosting_waits_until_what_was_sent_is_delivered() -> None:
    """Messages queue up behind the window; the application may stop hosting in the same turn."""
    with Cluster("abc", limits=Limits(window=100)) as cluster:
        cluster.until_members("abc")
        place = cluster.group("a")
        assert place is not None
        payloads = [f"{number:020}" for number in range(50)]
        cluster.send("a", payloads[0], *payloads[1:])
        cluster.world.request("a", Unhost("g"))
        cluster.run(0)
        cluster.until(lambda: (g := cluster.group("b")) is not None and g.hosts == ("b", "c"), "a group without a")
        assert cluster.deliveries("b") == cluster.deliveries("c") == payloads
        assert [p.decode() for d in cluster.log("a", Delivered) for p in d.payloads] == payloads, "a has seen it, too"
        assert cluster.members("b") == "abc", "it stays in the cluster"


def test_a_group_that_all_its_hosts_give_up_is_gone() -> None:
    with Cluster("abc", G, H, hosts={"a": (G,)}) as cluster:
        cluster.until_members("abc")
        for name in "bc":
            cluster.hosts[name] = (G,)
            cluster.world.request(name, Unhost("h"))
        cluster.until(lambda: cluster.group("a", "h") is None, "the end of h")
        cluster.run(1)
        for name in "bc":
            [(view, _)] = [pair for pair in pairwise(cluster.app(name).log) if isinstance(pair[1], GroupLost)]
            assert isinstance(view, Installed) and view.view.group_named("h") is None, "whoever serves it has let it go"
        assert not cluster.log("a", GroupLost)
        cluster.converge("abc")
