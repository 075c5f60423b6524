"""What a donor asks its application for, and when (group/transfer.py)."""

import msgspec

from phalanx.group.messages import Fetch
from phalanx.group.transfer import Transfer
from phalanx.model.events import SnapshotUnwanted, SnapshotWanted
from tests.group.cluster import Cluster
from tests.group.durables import D


def test_a_snapshot_that_a_view_change_met_is_given_up_and_one_other_is_taken() -> None:
    """The first one that was asked for hid the second from who asked again, five times a second: each time another one
    was begun, and of a large state none was ever finished, for they share the time.  Two nodes that joined what an
    operator had recovered, one after the other, stayed learners for ever."""
    with Cluster("abc", D) as cluster:
        cluster.until_members("abc")
        core = cluster.machine("b")._core
        view = core.view
        assert view is not None
        donor, group, none = Transfer(core), view.groups[0].id, (0, 0, 0)

        def asked(names: str, view_id: int) -> list[object]:
            before = len(core.out.deliveries)
            for name in names:
                donor.on_fetch(name, Fetch(group, 0, view_id, none))
            return core.out.deliveries[before:]

        (first,) = asked("aac", view.id)
        assert isinstance(first, SnapshotWanted)
        core.view = msgspec.structs.replace(view, id=view.id + 1)
        (second,) = asked("a", view.id + 1)
        assert isinstance(second, SnapshotWanted)
        assert asked("aa", view.id + 1) == []
        assert asked("c", view.id + 1) == [SnapshotUnwanted(group, first.token)], "nobody waits for it any more"
        assert asked("acac", view.id + 1) == []
        assert donor.busy == 1
