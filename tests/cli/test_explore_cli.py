"""`phalanx explore`: how it ends."""

import multiprocessing
import signal
import threading
from typing import Any

import pytest

from phalanx.cli.explore import _explore_all
from phalanx.lab.explore import SCENARIOS


def test_an_interrupt_ends_the_workers_instead_of_waiting_for_them() -> None:
    workers: list[Any] = []

    def tell(_: object) -> None:
        if not workers:
            workers.extend(multiprocessing.active_children())
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        list(_explore_all(list(SCENARIOS.values()), None, False, 2, tell))
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers].count(-signal.SIGTERM) >= 2
