"""What reviews and tests have found in the group core, each with the schedule that showed it."""

from phalanx.group.messages import Ballot, Progress, Promise, Wish
from phalanx.group.proposal import Grounds, plan
from phalanx.model.view import Group, GroupSpec, Member, View
from phalanx.parts.download import Download
from tests.group.cluster import Cluster


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
