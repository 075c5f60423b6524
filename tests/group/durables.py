"""What tests of durable groups do to clusters."""

from phalanx.group.config import Limits
from phalanx.group.messages import Turned
from phalanx.model.clock import SECOND
from phalanx.model.view import GroupSpec
from tests.group.cluster import Cluster

D = GroupSpec("g", durable=True)

STALLED_NS = 3600 * SECOND
"""What a stalled disk takes for a write."""


def power_cut(cluster: Cluster, names: str) -> None:
    cluster.crash(*names, host=True)


def cluster_of(names: str, hosts: str = "", spec: GroupSpec = D, limits: Limits | None = None, **more: int) -> Cluster:
    """All nodes know the group; only `hosts` want it."""
    wanted = {name: (spec,) if name in (hosts or names) else () for name in names}
    return Cluster(names, spec, hosts=wanted, limits=limits, **more)  # type: ignore[arg-type]  # numbers only


def sent(cluster: Cluster, name: str, *payloads: str) -> None:
    """Multicast, and delivered at the sender: acknowledged."""
    for payload in payloads:
        cluster.send(name, payload)
    cluster.until(lambda: set(payloads) <= set(cluster.deliveries(name)), "an acknowledgement")


def cut_log(cluster: Cluster, name: str, records: int) -> None:
    """So many records at the end of the log of a node that is down cannot be read: they pass for a torn write."""
    node = cluster.world.nodes[name]
    del node.log[len(node.log) - records :]
    node.cuts.append(len(node.log))


def drop_batches(cluster: Cluster, name: str) -> None:
    """The same, for all that was received in the last view."""
    log = cluster.world.nodes[name].log
    cut_log(cluster, name, len(log) - 1 - max(i for i, record in enumerate(log) if isinstance(record, Turned)))


def suspended(cluster: Cluster, name: str) -> str:
    """The last hosts of the suspended group."""
    view = cluster.view(name)
    return "".join(view.suspended[0].group.hosts) if view is not None and view.suspended else ""
