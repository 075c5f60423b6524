"""What measures clusters: histograms, and clients of a node that goes away (phalanx.lab.loadgen)."""

import asyncio
import random

import pytest

import phalanx
from phalanx.lab.loadgen.histogram import Histogram
from phalanx.lab.loadgen.load import PAUSE_S, Load, Plan, Result
from phalanx.services.store.kv import KV

PLAN = Plan("mixed", (), outstanding=8, clients=2, seconds=0.2, keys=20, warm_up_s=0.0)


def of(values: list[int]) -> Histogram:
    found = Histogram()
    for value in values:
        found.add(value)
    return found


@pytest.mark.parametrize("seed", range(200))
def test_percentiles_are_those_of_the_sorted_values_within_a_64th(seed: int) -> None:
    rng = random.Random(seed)
    values = [rng.randrange(10 ** rng.randrange(1, 11)) for _ in range(rng.randrange(1, 300))]
    found, ordered = of(values), sorted(values)
    assert found.total == len(values)
    for share in (0.0, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = next(v for n, v in enumerate(ordered, 1) if n >= share * len(values))
        assert exact <= found.percentile(share) <= exact * 65 / 64
    assert found.percentile(1.0) == found.most == ordered[-1]


def test_merged_histograms_are_one_of_all() -> None:
    one, other = of([1, 200, 3_000_000]), of([7, 200])
    both = of([1, 7, 200, 200, 3_000_000])
    one.merge(other)
    assert (one.counts, one.most) == (both.counts, both.most)
    assert Histogram().percentile(0.5) == 0


def test_memory_is_bounded() -> None:
    found = of([1 << n for n in range(60)] + list(range(100_000)))
    assert len(found.counts) < 64 * 60


async def measured(plan: Plan) -> Result:
    load = Load(plan)
    await load.open()
    return await load.run()


async def left(address: str, plan: Plan) -> int:
    async with phalanx.connect(address) as client:
        return await client.kv().count(plan.prefix)


def plan_for(*endpoints: str, **changes: object) -> Plan:
    return Plan(**{f: getattr(PLAN, f) for f in PLAN.__struct_fields__} | {"endpoints": endpoints} | changes)


def test_puts_are_there_and_both_kinds_are_counted() -> None:
    async def main() -> None:
        async with phalanx.join("a", bootstrap=True, objects={"KV": (KV, 0)}) as process:
            plan = plan_for(process.address)
            counted = {"put": 0, "get": 0}
            for _ in range(20):  # on a busy machine a fifth of a second may see neither
                found = await measured(plan)
                assert not found.errors
                counted = {name: count + found.histogram(name).total for name, count in counted.items()}
                if all(counted.values()):
                    break
            assert all(counted.values()), counted
            assert 0 < await left(process.address, plan) <= plan.keys

    phalanx.run(main())


def test_nothing_is_sent_once_the_load_has_ended() -> None:
    """Else keys would come back behind whoever removes them."""

    async def main() -> None:
        async with (
            phalanx.join("a", bootstrap=True, objects={"KV": (KV, 0)}) as process,
            phalanx.connect(process.address) as client,
        ):
            await measured(plan_for(process.address, what="put"))
            store = client.kv()
            before = (await store.info()).revision
            await asyncio.sleep(0)
            assert (await store.info()).revision == before

    phalanx.run(main())


def test_what_a_node_declines_is_an_error_of_its_kind() -> None:
    async def main() -> None:
        async with phalanx.join("a", bootstrap=True, objects={"KV": (KV, 0)}) as process:
            found = await measured(plan_for(process.address, what="put", value_bytes=(512 << 10) + 1))
            assert set(found.errors) == {"TooLarge"}
            assert found.histogram("put").total == 0

    phalanx.run(main())


def test_a_broken_connection_is_an_error_and_its_client_goes_on_elsewhere() -> None:
    async def main() -> None:
        async with phalanx.join("a", bootstrap=True, objects={"KV": (KV, 0)}) as process:
            breaks = asyncio.Event()

            async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                """Until told to break."""
                host, _, port = process.address.rpartition(":")
                far_reader, far_writer = await asyncio.open_connection(host, int(port))

                async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                    while data := await source.read(65_536):
                        target.write(data)

                pumps = [asyncio.create_task(pump(reader, far_writer)), asyncio.create_task(pump(far_reader, writer))]
                await breaks.wait()
                for each in pumps:
                    each.cancel()
                writer.transport.abort()
                far_writer.transport.abort()

            async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
                port = server.sockets[0].getsockname()[1]
                plan = plan_for(f"127.0.0.1:{port}", process.address, clients=1, seconds=5 * PAUSE_S)
                load = Load(plan)
                await load.open()
                after: list[int] = []

                def watch(done: int) -> None:
                    after.append(done)
                    breaks.set()
                    server.close()

                found = await load.run(watch)
                assert found.errors["connection lost"] == plan.outstanding
                assert after[-1] > after[0], "it went on"

    phalanx.run(main())


def test_endpoints_where_nobody_serves_are_told_at_once() -> None:
    async def main() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectionError, match=f"{port}: it closed the connection"):
                await measured(plan_for(f"127.0.0.1:{port}"))
        with pytest.raises(ConnectionError, match=f"{port}: .*refused|Connect call failed"):
            await measured(plan_for(f"127.0.0.1:{port}"))

    phalanx.run(main())


def test_a_store_that_is_not_there_is_named() -> None:
    async def main() -> None:
        async with phalanx.join("a", bootstrap=True, objects={"KV": (KV, 0)}) as process:
            with pytest.raises(ConnectionError, match="no endpoint serves the store other"):
                await measured(plan_for(process.address, group="other"))

    phalanx.run(main())
