"""All processes killed at once, and what the vote files bring back (SCENARIOS 1, 9; DESIGN section 8)."""

from phalanx.api.client import connect
from phalanx.lab.processes import Processes
from tests.real.cluster import on_processes, one_status, real

pytestmark = real


async def _kill_all_at_once(nodes: Processes) -> None:
    """None of them sees another one die."""
    for name in nodes.names:
        nodes.pause(name)
    for name in nodes.names:
        await nodes.kill(name)


def test_a_cluster_killed_as_a_whole_forms_again_from_its_vote_files_without_the_memory_that_is_gone() -> None:
    """The cluster is the same one; its group's state was only in memory, so the group is another one."""

    async def story() -> None:
        async with Processes() as nodes:
            before = await one_status(nodes, 3)
            async with connect(*nodes.addresses.values()) as client:
                await client.kv().put(b"key", b"value")
            await _kill_all_at_once(nodes)
            for name in nodes.names:
                await nodes.start(name)
            after = await one_status(nodes, 3)
            assert after.cluster == before.cluster
            assert after.view > before.view
            # Two of three are a quorum and need not wait for the third, which is then the youngest: no order is promised.
            lives = {m.name: m.incarnation for m in before.members}
            assert lives.keys() == {m.name for m in after.members}
            assert all(m.incarnation > lives[m.name] for m in after.members)
            assert after.groups[0].name == before.groups[0].name
            assert after.groups[0].id != before.groups[0].id, "a group whose state is gone never returns under its id"
            async with connect(*nodes.addresses.values()) as client:
                assert await client.kv().get(b"key") is None
                await client.kv().put(b"key", b"again")

    on_processes(story())


def test_one_vote_file_of_three_is_no_quorum_and_two_are() -> None:
    """SCENARIOS 9: whoever may not know the last view waits for those who do."""

    async def story() -> None:
        async with Processes() as nodes:
            before = await one_status(nodes, 3)
            await _kill_all_at_once(nodes)
            youngest, other = before.members[-1].name, before.members[-2].name
            await nodes.start(youngest)
            alone = await nodes.wait_until(lambda seen: seen[youngest] is not None, "an answer of the first one back")
            assert (status := alone[youngest]) is not None and status.state == "out", "it does not go on alone"
            await nodes.start(other)
            after = await one_status(nodes, 2)
            assert after.cluster == before.cluster
            assert after.view > before.view

    on_processes(story())
