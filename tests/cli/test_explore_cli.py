"""`phalanx explore`: how it ends."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from phalanx.cli import explore
from phalanx.lab.explore import SHORT


@pytest.mark.parametrize("when", ["while it waits", "while it begins"])
def test_an_interrupt_ends_the_workers_instead_of_waiting_for_them(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised where it would be: a signal could hit whoever runs the tests."""
    workers: list[Any] = []

    def interrupted(*_: object) -> Any:
        workers.extend(multiprocessing.active_children())
        raise KeyboardInterrupt

    class Pool(ProcessPoolExecutor):
        submitted = 0

        def submit(self, *args: Any, **named: Any) -> Any:
            self.submitted += 1
            return super().submit(*args, **named) if self.submitted < 3 else interrupted()

    if when == "while it begins":
        monkeypatch.setattr(explore, "ProcessPoolExecutor", Pool)
    else:
        monkeypatch.setattr(explore, "as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(explore._explore_all(list(SHORT.values()), None, False, 2, lambda _: None))
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers].count(-signal.SIGTERM) >= 2
