"""What the store's state costs: memory and time per key, digest, snapshot, restore.  One process, no network.

    python -m bench.store [--keys 1000000] [--size 100]

Prints one line per measure.  Times are the processor's, so a busy machine adds little to them.  The resident size is read
before and after, so run it in a process of its own.
"""

import argparse
import gc
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from phalanx.replication.inflight import SLICE_BYTES
from phalanx.runtime.loop import GC_THRESHOLDS
from phalanx.services.store.kv import KV
from phalanx.services.store.values import Put

T = TypeVar("T")

TOGETHER = 100
"""Puts between two looks at the clock."""


def resident() -> int:
    """Bytes of memory of this process, where the system tells; else the most there ever were."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(what: str, work: Callable[[], Any], count: int = 1) -> Any:
    """Do it and print how long it took, in all and for each of `count`."""
    began = time.process_time()
    result = work()
    took = time.process_time() - began
    each = f", {took / count * 1e6:.2f} us each" if count > 1 else ""
    print(f"{what:<42} {took * 1e3:10.2f} ms{each}", flush=True)
    return result


def each(what: str, slices: Iterator[T]) -> list[T]:
    """Take the slices one by one; print how long all of them took, and the longest, which is what stops a host."""
    began = last = time.process_time()
    found, longest, nth = [], 0.0, 0
    for one in slices:
        found.append(one)
        now = time.process_time()
        if now - last > longest:
            longest, nth = now - last, len(found)
        last = now
    size = sum(len(one) for one in found if isinstance(one, bytes))
    megabytes = f", {size / 1e6:.1f} MB" if size else ""
    print(f"{what + f', {len(found)} slices':<42} {(last - began) * 1e3:10.2f} ms{megabytes}")
    print(f"{what + f', the longest (slice {nth})':<42} {longest * 1e3:10.2f} ms", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100)
    arguments = parser.parse_args()
    count, size = arguments.keys, arguments.size
    keys = [b"key/%012d" % n for n in range(count)]
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)  # as `phalanx serve` does
    before = resident()
    store = KV()

    def fill() -> Iterator[None]:
        for n, key in enumerate(keys, 1):
            store.put(key, b"%d" % n + bytes(size - len(str(n))))
            if n % TOGETHER == 0:
                yield

    each(f"{count} new keys of {size} bytes", fill())
    print(f"{'memory':<42} {(resident() - before) / count:10.0f} bytes per key, with the latest history")
    some = keys[:: max(1, count // 10_000)]
    timed("put again", lambda: [store.put(key, bytes(size)) for key in some], len(some))
    timed("get", lambda: [store.get(key) for key in some], len(some))
    past = store.revision() - len(some) // 2
    timed("get at a past revision", lambda: [store.get(key, past) for key in some], len(some))
    timed("count of all", store.count)
    timed("range of 1000", lambda: store.range(keys[count // 2]))
    timed("transaction of 10 puts", lambda: store.transact((), tuple(Put(key, b"") for key in some[:10])))
    timed("digest", store.digest)
    data = each("snapshot", (some for some in store.snapshot_slices(SLICE_BYTES) if some is not None))
    twin = KV()
    each("restoration", map(twin.restore_slice, data))
    assert twin.digest() == store.digest()
    timed("compaction of the whole history", lambda: store.compact(store.revision()))


if __name__ == "__main__":
    main()
