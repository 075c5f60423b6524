"""What is asked for as a group, looked at before anybody is asked: a node that found out would stop, or be refused."""

from collections.abc import Callable
from typing import Any

from phalanx.api.arguments import callable_of, flag_of, name_of, number_of
from phalanx.errors import ConfigurationError
from phalanx.group.ranges import fault_in_spec
from phalanx.model.view import GroupSpec, Order


def order_of(order: Order | str) -> Order:
    """The order of that name.  Raises `ConfigurationError`."""
    try:
        return Order(order)
    except ValueError:
        known = ", ".join(o.value for o in Order)
        raise ConfigurationError(f"order {order!r} is none of {known}") from None


def spec_of(
    name: str,
    what: str,
    order: Order | str = Order.TOTAL,
    uniform: bool = False,
    lease_ms: int = 0,
    contract: str = "",
    durable: bool = False,
    min_copies: int = 1,
) -> GroupSpec:
    """The group that is asked for; `what` has the name.  Raises `ConfigurationError` if none can be like that, and
    `TypeError`."""
    spec = GroupSpec(
        name_of(name, f"the name of {what}"),
        order_of(order),
        flag_of(uniform, "uniform"),
        number_of(lease_ms, "lease_ms"),
        contract,
        flag_of(durable, "durable"),
        number_of(min_copies, "min_copies"),
    )
    if (fault := fault_in_spec(spec)) is not None:
        raise ConfigurationError(f"{name!r} cannot be hosted: {fault}")
    return spec


def check_hooks(
    spec: GroupSpec, snapshot: Callable[[], Any] | None, restore: Callable[[bytes], Any] | None, record: Any
) -> None:
    """Of a group of payloads.  Raises `ConfigurationError` if one lacks that the group needs, or is one too many, and
    `TypeError` for what cannot be called."""
    for hook, what in ((snapshot, "snapshot"), (restore, "restore"), (record, "record")):
        if hook is not None:
            callable_of(hook, what)
    if spec.durable and (snapshot is None or restore is None):
        raise ConfigurationError(
            f"durable group {spec.name!r} needs snapshot and restore: its log is kept short by them"
        )
    if record is not None and spec.order is Order.UNORDERED:
        raise ConfigurationError(f"group {spec.name!r} needs an order for snapshots: fifo, causal or total")
