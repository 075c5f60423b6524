"""What the tests on real processes share."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from phalanx.api.client import connect
from phalanx.check import Answer, KvCas, check_linearizable, describe
from phalanx.lab.load import Records, read_all
from phalanx.lab.processes import START_S_MAX, Processes
from phalanx.model.history import Outcome
from phalanx.node.status import Status
from phalanx.runtime.loop import run

PATIENCE_S = 2 * START_S_MAX
"""It stops what hangs and judges no speed."""

T = TypeVar("T")

real = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]


def on_processes(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine, for a limited time."""

    async def limited() -> T:
        async with asyncio.timeout(PATIENCE_S):
            return await work

    return run(limited())


async def one_status(nodes: Processes, count: int) -> Status:
    """What the nodes agree on once that many are full members."""
    seen = await nodes.wait_until_full(count)
    return next(status for status in seen.values() if status is not None)


async def assert_nobody_was_cheated(nodes: Processes, records: Records) -> None:
    """No acknowledged write is lost, none that was refused has happened, and the history is linearizable."""
    async with connect(*nodes.addresses.values(), timeout_s=PATIENCE_S, tls=nodes.tls) as client:
        final = await read_all(client.kv(), records)
    assert records.acknowledged() > 0
    assert records.lost(final) == []
    assert records.phantoms(final) == []
    verdict = check_linearizable(records.operations, KvCas())
    assert verdict.answer is Answer.LINEARIZABLE, describe(verdict.explanation) if verdict.explanation else verdict


def assert_no_error_reached_a_client(records: Records) -> None:
    """Clients resend by themselves; what they could not cure would be here."""
    assert records.count(Outcome.FAIL) == 0
    assert records.count(Outcome.INFO) == 0
