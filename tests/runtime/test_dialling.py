"""What waits for a connection that is not to be had."""

from phalanx.model.machine import LinkUp, Refused
from phalanx.runtime.transport import TcpTransport
from tests.runtime.test_transport import HOST, node
from tests.runtime.toys import on_loop, running, say


def test_what_was_sent_before_nobody_listened_does_not_arrive_when_somebody_does() -> None:
    """Who sent it has been told that it is lost: a client takes such a call for one that has not happened."""

    async def work() -> None:
        async with node() as (a, ear_a):
            b = await TcpTransport.listen(HOST, 0)
            address = b.address
            await b.close()
            say(a, address, "early")
            await ear_a.event(Refused(address))
            async with running(await TcpTransport.listen(HOST, int(address.split(":")[1]))) as (_, ear):
                await ear_a.event(LinkUp(address))
                say(a, address, "late")
                await ear.event((a.address, "late"))
                assert (a.address, "early") not in ear.heard

    on_loop(work)
