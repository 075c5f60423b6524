"""What a node's log costs: its bytes on disk while a store is written to, and the memory and time of a restart from it.

One real node with a durable store.  `largest`, `in the end`: bytes of the log's files.  After SIGKILL the node is started
again from its log; measured are the time until a read is answered, the resident memory then and its peak, and, to
compare, the memory before the kill.

Run it: python -m bench.restart [--puts 1000000] [--keys 100] [--size 100] [--together 10]
"""

import argparse
import asyncio
import time
from pathlib import Path

import phalanx
from phalanx.lab.processes import Processes
from phalanx.runtime.loop import run
from phalanx.services.store.values import Put

LOADERS = 16
SAMPLE_S = 0.1
PATIENCE_S = 600


def log_bytes(nodes: Processes) -> int:
    """The size of the node's log."""
    total = 0
    for path in (nodes.directory / "a" / "log").iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # it was forgotten in this moment
    return total


async def load(store: phalanx.Store, puts: int, keys: int, size: int, together: int) -> None:
    """So many puts, key after key and round again, in transactions of `together`."""
    starts = iter(range(0, puts, together))

    async def loader() -> None:
        for start in starts:
            some = [Put(b"key/%012d" % (n % keys), bytes(size)) for n in range(start, min(start + together, puts))]
            await store.within(60).transact(then=some)

    await asyncio.gather(*(loader() for _ in range(LOADERS)))


async def watch_log(nodes: Processes, seen: list[int]) -> None:
    """Note the size of the log for ever."""
    while True:
        seen.append(log_bytes(nodes))
        await asyncio.sleep(SAMPLE_S)


def memory(nodes: Processes) -> tuple[float, float]:
    """Of the node: resident now, and at its peak, in MB."""
    lines = Path(f"/proc/{nodes.pid('a')}/status").read_text("ascii").splitlines()
    values = {line.split(":")[0]: line.split(":")[1] for line in lines}
    return int(values["VmRSS"].split()[0]) / 1e3, int(values["VmHWM"].split()[0]) / 1e3


async def measure(puts: int, keys: int, size: int, together: int) -> None:
    """All of it, in order."""
    async with Processes(("a",), ("--durable",)) as nodes:
        await nodes.wait_until_full(1)
        print(f"{'memory of an empty node':<32} {memory(nodes)[0]:9.1f} MB", flush=True)
        seen: list[int] = []
        watching = asyncio.create_task(watch_log(nodes, seen))
        began = time.perf_counter()
        async with phalanx.connect(nodes.addresses["a"]) as client:
            await load(client.kv(), puts, keys, size, together)
            print(f"{f'{puts} puts to {keys} keys':<32} {time.perf_counter() - began:9.1f} s", flush=True)
            await asyncio.sleep(1)
        watching.cancel()
        print(f"{'log, largest':<32} {max(seen) / 1e6:9.1f} MB")
        print(f"{'log, in the end':<32} {log_bytes(nodes) / 1e6:9.1f} MB")
        print(f"{'memory, peak':<32} {memory(nodes)[1]:9.1f} MB")
        print(f"{'memory, in the end':<32} {memory(nodes)[0]:9.1f} MB", flush=True)
        await nodes.kill("a")
        began = time.perf_counter()
        await nodes.start("a")
        async with phalanx.connect(nodes.addresses["a"]) as client, asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    assert await client.kv().within(1).count(b"key/", b"key0") == min(puts, keys)
                    break
                except (phalanx.NotHappened, phalanx.OutcomeUnknown):
                    continue
        print(f"{'restart, until the first read':<32} {time.perf_counter() - began:9.1f} s")
        print(f"{'memory after it, peak':<32} {memory(nodes)[1]:9.1f} MB")
        print(f"{'memory after it':<32} {memory(nodes)[0]:9.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--puts", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--together", type=int, default=10)
    arguments = parser.parse_args()
    run(measure(arguments.puts, arguments.keys, arguments.size, arguments.together))


if __name__ == "__main__":
    main()
