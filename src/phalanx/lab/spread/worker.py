"""What Dask's workers run, found by its name: what they take and give is text and bytes."""

from distributed import get_worker

from phalanx.lab.spread.work import carry_out, decode_order, encode, fresh_credentials


def be_there() -> None:
    """Whoever can be told to call this has it."""


def inspect(scenario: str) -> bytes:
    """The credentials of this worker.  Raises what importing the scenario raises."""
    return encode(fresh_credentials(scenario))


def run(order: bytes) -> bytes:
    """The answer to an order.

    A thread cannot be interrupted, but between two tasks it can look whether the scheduler still wants the result: if the
    campaign was interrupted, or the process that drives it killed, the worker is told so and marks what it is doing.
    """
    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return encode(carry_out(decode_order(order), worker.contact_address, wanted))
