"""Golden transcripts: each protocol of the group core, once, as a text to read (notation: `transcript`).

`pytest tests/group/test_transcripts.py --rewrite` writes them anew; review what changed as prose.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from phalanx.group.config import Limits
from phalanx.group.messages import Accepted, Commit, Data, Votes
from tests.group.cluster import Cluster
from tests.group.transcript import Recorder

FOLDER = Path(__file__).with_name("transcripts")


def founding() -> str:
    """Three nodes found a cluster: its birth is a view change out of view 0, whose quorum is all of them."""
    with Cluster("abc") as cluster:
        recorder = Recorder(cluster)
        cluster.until_members("abc")
        return recorder.text()


def multicast_in_total_order() -> str:
    """a and c send at the same moment; each batch is delivered when all rows show it and no earlier one can come."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.run(0.01)
        recorder = Recorder(cluster, rows=True)
        cluster.send("a", "from-a")
        cluster.send("c", "from-c")
        cluster.until_all_deliver("abc", "from-a", "from-c")
        return recorder.text()


def view_change_after_a_crash() -> str:
    """a, the eldest, dies with a message that only b has; the cut of the uniform group leaves it out."""
    with Cluster("abc") as cluster:
        cluster.until_members("abc")
        cluster.send("a", "delivered")
        cluster.until_all_deliver("abc", "delivered")
        recorder = Recorder(cluster)
        cluster.drop(Data, source="a", target="c")
        cluster.send("a", "lost")
        cluster.run(0.0005)
        cluster.crash("a")
        cluster.until_members("bc")
        return recorder.text()


def join_with_state_transfer() -> str:
    """d joins as a learner, fetches the state in chunks while the group goes on, and is promoted."""
    with Cluster("abc", limits=Limits(chunk=24)) as cluster:
        cluster.until_members("abc")
        cluster.send("a", "one", "two", "three", "four", "five", "six")
        cluster.until_all_deliver("abc", "six")
        recorder = Recorder(cluster)
        cluster.join("d")
        cluster.until(lambda: cluster.learners("a") == "d", "a learner")
        cluster.send("b", "meanwhile")
        cluster.until_members("abcd")
        return recorder.text()


def adoption_by_a_second_coordinator() -> str:
    """a dies when all have accepted its value and nobody knows; b adopts the value as it stands, with a in it; a goes
    in the view after that."""
    with Cluster("abcde") as cluster:
        cluster.until_members("abcde")
        recorder = Recorder(cluster)
        silence = cluster.drop(Accepted, Commit)
        cluster.crash("e")

        def accepted() -> bool:
            votes = [cluster.world.nodes[n].durable for n in "abcd"]
            return all(isinstance(v, Votes) and v.accepted is not None for v in votes)

        cluster.until(accepted, "acceptances")
        cluster.crash("a")
        silence.lift()
        cluster.until_members("bcd")
        return recorder.text()


@pytest.mark.parametrize(
    "scene",
    [
        founding,
        multicast_in_total_order,
        view_change_after_a_crash,
        join_with_state_transfer,
        adoption_by_a_second_coordinator,
    ],
)
def test_the_protocol_runs_as_its_transcript_says(scene: Callable[[], str], pytestconfig: pytest.Config) -> None:
    """STYLE 7."""
    path = FOLDER / f"{scene.__name__}.txt"
    text = f"{' '.join((scene.__doc__ or '').split())}\n\n{scene()}"
    if pytestconfig.getoption("--rewrite"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; run with --rewrite and review it"


def test_a_run_is_a_function_of_its_seed() -> None:
    assert join_with_state_transfer() == join_with_state_transfer()
