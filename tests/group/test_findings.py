"""What reviews and tests have found in the group core, each with the schedule that showed it."""

import pytest

from phalanx.group.messages import Accepted, Ballot, Commit, Prepare, Progress, Promise, Refuse, Wish
from phalanx.group.proposal import Grounds, plan
from phalanx.model.clock import SECOND
from phalanx.model.events import Host
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.parts.download import Download
from tests.group.cluster import Cluster
from tests.group.durables import STALLED_NS, D, cluster_of, power_cut


def test_all_may_come_back_at_other_addresses_after_a_total_crash() -> None:
    """SCENARIOS 20, 21: the last view knows nobody's present address; each tells its seeds which member it votes for."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        first = cluster.view("a")
        cluster.crash(*"abc", host=True)
        for name in "abc":
            cluster.world.readdress(name, name.upper())
        cluster.restart("b", "c")
        cluster.until_members("bc")
        view = cluster.view("b")
        assert first is not None and view is not None
        assert view.cluster == first.cluster and [m.address for m in view.members] == ["B", "C"]
        cluster.restart("a")
        cluster.converge("abc")


def test_pieces_of_another_size_than_ours_make_the_content() -> None:
    """Limits.chunk is each node's own: a donor that sends larger pieces than the learner asks for makes them overlap, and
    `drain` joins them as if they did not."""
    content = bytes(range(40))
    download = Download(piece=8, window=4)
    while not download.complete:
        for offset in download.to_ask(0, 0):
            download.take(offset, len(content), content[offset : offset + 10])
    assert b"".join(download.drain()) == content


def group_after(leaves: str, gives_up: str, silent: str) -> tuple[str, ...] | None:
    """Hosts of the group t (of a and b, learnt by x, which has not got the state) after a view change."""
    spec = GroupSpec("t")
    members = {n: Member(n, n, 1) for n in "abcx"}
    group = Group(1, spec, ("a", "b"), ("x",))
    view = View(9, 5, tuple(members[n] for n in "abc"), (members["x"],), (group,))

    def promise(name: str) -> Promise:
        wish = Wish(members[name], False, (), ("t",) if name in gives_up else (), name in leaves)
        progress = () if name == "c" else (Progress(1, (4, 4), (0, 0), name != "x", 5),)
        return Promise(5, Ballot(1, "a", 1), None, True, progress, 0, 15, wish)

    promises = {n: promise(n) for n in "abcx" if n not in silent}
    found = plan(view, Grounds(promises, {n: p.wish for n, p in promises.items()}, silent, (), 9))
    assert found is not None
    after = found.decision.view.group(1)
    return after.hosts if after is not None else None


def test_the_last_host_that_answers_does_not_leave_a_learner_behind() -> None:
    """`may_leave` and `may_unhost` count a host that has crashed as one that stays, and know nothing of each other: so
    a group that is being learnt ends although a host that has its state is there."""
    assert group_after("", "a", "b") is not None, "b crashed, a gives the group up"
    assert group_after("a", "", "b") is not None, "b crashed, a leaves"
    assert group_after("a", "b", "") is not None, "a leaves, b gives the group up"


@pytest.mark.parametrize("spec", [GroupSpec("g"), GroupSpec("g", durable=True)])
def test_a_restarted_member_that_is_needed_is_not_accused_of_lagging(spec: GroupSpec) -> None:
    """a dies for good, c is killed and back at once, and b has something to send.  c votes, and receives nothing in its
    old view; b took that for lag, so it had nobody who agrees that a is gone, and c had an elder: for ever."""
    with cluster_of("abc", "bc", spec) as cluster:
        cluster.until_members("abc")
        cluster.crash("a", host=True)
        cluster.crash("c")
        cluster.restart("c")
        cluster.send("b", "m")
        cluster.until_members("bc")
        cluster.until_all_deliver("bc", "m")


def test_a_frozen_member_that_is_needed_is_not_accused_of_lagging() -> None:
    """The same with a coordinator that dies when only c has promised: frozen, it shows no receipt any more."""
    with cluster_of("abc", "bc", GroupSpec("g")) as cluster:
        cluster.until_members("abc")
        cluster.drop(Prepare, source="a", target="ab")
        promises = cluster.world.notes["promise"]
        cluster.world.request("a", Host(GroupSpec("another")))
        cluster.until(lambda: cluster.world.notes["promise"] > promises, "a promise")
        cluster.crash("a", host=True)
        cluster.send("b", "m")
        cluster.until_members("bc")
        cluster.until_all_deliver("bc", "m")


@pytest.mark.parametrize(("names", "hosts"), [("abc", "bc"), ("abc", "ac"), ("abcde", "cde"), ("abcde", "ab")])
@pytest.mark.parametrize("place", [0, -1])
def test_a_laggard_of_a_group_that_few_host_is_demoted(names: str, hosts: str, place: int) -> None:
    """Only hosts see that one receives nothing, and they were fewer than the half that it takes to accuse it: the group
    stood still for as long as a disk was stalled."""
    slow, quick = hosts[place], hosts[-1 - place]
    with cluster_of(names, hosts) as cluster:
        cluster.until_members(names)
        cluster.world.nodes[slow].disk_extra_ns = STALLED_NS
        cluster.send(quick, "m")
        cluster.until_all_deliver(quick, "m", within=3)
        power_cut(cluster, slow)
        cluster.world.nodes[slow].disk_extra_ns = 0
        cluster.restart(slow)
        cluster.converge(names)


def test_a_founder_with_a_new_disk_that_alone_knows_of_the_first_view_tells_the_others() -> None:
    """Counter-example 9 at the birth of a cluster: c learns what was decided of view 0 and loses its disk; with the new
    one it votes once more, learns the same again, and is in no view.  Nobody else knows, and what a and b ask is of the
    pseudo-cluster of view 0."""
    with Cluster("abc") as cluster:
        lost = [cluster.drop(Accepted, target="ab"), cluster.drop(Commit, source="c")]
        cluster.until(lambda: cluster.view("c") is not None, "the first view")
        cluster.crash("c", wipe=True)
        cluster.restart("c")
        cluster.until(lambda: cluster.world.notes["votes.over"] > 0, "the decision")
        for rule in lost:
            rule.lift()
        cluster.converge("abc")
        assert len({view.cluster for view in cluster.views()}) == 1


def test_7_a_wiped_disk_whose_number_came_from_the_others_after_a_crash_counts_for_nothing() -> None:
    """SCENARIOS 7, decision 21.  c loses its disk, its clock is set back, and it crashes before it is told that its
    number is too low: in its second life on that disk it took all numbers up to the new one for lives of its own.  So it
    voted for the c of view 2, which had gone on with b, and with a it made another view 3."""
    with Cluster("abcd", D) as cluster:
        cluster.until_members("abcd")
        for name in "abc":
            cluster.cut("d", name)
        cluster.until_members("abc")
        cluster.cut("a", "b")
        cluster.cut("a", "c")
        cluster.until(lambda: cluster.members("c") in ("bc", "cb"), "view 3")
        cluster.send("c", "m")
        cluster.until_all_deliver("bc", "m")
        cluster.crash("b", host=True)
        cluster.crash("c", wipe=True)
        cluster.world.nodes["c"].clocks.offset_ns = -3600 * SECOND
        unheard = cluster.drop(Refuse, target="c")
        cluster.mend("c", "d")  # which has seen nothing since view 1
        cluster.restart("c")
        cluster.until(lambda: cluster.world.notes["votes.over"] > 0, "what followed view 0")
        cluster.crash("c")
        cluster.restart("c")
        unheard.lift()
        cluster.until(lambda: cluster.world.notes["incarnation.raised"] > 0, "another number")
        cluster.mend("c", "a")  # which has seen nothing since view 2
        cluster.run(5)
        assert {view.id for view in cluster.views()} == {1, 2, 3}, "c has no vote, and b is down"
        cluster.heal()
        cluster.restart("b")
        cluster.converge("abcd")
        assert "m" in cluster.deliveries("a")
