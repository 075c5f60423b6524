"""The oracle of group histories: is what was observed virtually synchronous?

`check_groups` holds for every history, however cut short: it states safety.  `check_progress` is for a history that
ends healed and drained, and states what must have happened by then.

Each property is a function of its own, named as its violations are, with its formal statement and source: `views`
(membership), `deliveries` (integrity, virtual synchrony, uniformity, fencing), `orders` (FIFO, causal, total),
`states` (founding, transfer) and `progress`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence

from phalanx.check import deliveries, orders, progress, states, views
from phalanx.check.observed import Observed, Position, Violation
from phalanx.model.history import GroupEvent, SawView
from phalanx.model.view import Member, Name

Property = Callable[[Observed], Iterator[Violation]]

PROPERTIES: tuple[Property, ...] = (
    views.self_inclusion,
    views.local_monotony,
    views.view_agreement,
    views.well_formed_views,
    views.removal_is_final,
    views.seniority,
    views.group_identity,
    deliveries.delivery_integrity,
    deliveries.no_duplication,
    deliveries.nothing_after_stop,
    deliveries.delivery_in_view,
    deliveries.virtual_synchrony,
    deliveries.same_view_delivery,
    deliveries.uniformity,
    deliveries.polite_leave,
    deliveries.fencing,
    orders.fifo_order,
    orders.causal_order,
    orders.total_order,
    states.founding,
    states.state_transfer,
    states.durability,
    states.copies,
)
"""What `check_groups` demands, besides `views.primary_chain`."""


def check_groups(history: Sequence[GroupEvent], *, leavers: Collection[Name] | None = None) -> list[Violation]:
    """Every violation of the safety properties in the history, in the order of the properties.

    `leavers` are the nodes that were ever asked to leave; if they are known, `views.primary_chain` is demanded in full.
    A history of several clusters is judged cluster by cluster.  The time taken is linear in the length of the history
    and in the size of the logs that the processes of a group ended with.
    """
    violations: list[Violation] = []
    for run in _runs(history):
        violations += views.primary_chain(run, leavers)
        for holds in PROPERTIES:
            violations += holds(run)
    return violations


def check_progress(history: Sequence[GroupEvent], final_members: Collection[Member]) -> list[Violation]:
    """Every violation of the progress properties in a history that was healed and drained before its end.

    `final_members` are the processes of one cluster that are alive at the end and were to be full members again.
    """
    runs = _runs(history)
    run = next((run for run in runs if any(run.current(process)[0] for process in final_members)), runs[0])
    return [*progress.convergence(run, final_members), *progress.reliable_delivery(run, final_members)]


def _runs(history: Sequence[GroupEvent]) -> list[Observed]:
    """The history of each cluster.  A process is of the cluster of its first view; one without a view is of the first
    cluster."""
    cluster_of: dict[Member, int] = {}
    for event in history:
        if type(event) is SawView:
            cluster_of.setdefault(event.process, event.view.cluster)
    clusters = list(dict.fromkeys(cluster_of.values()))
    if len(clusters) <= 1:
        return [Observed(enumerate(history))]
    parts: dict[int, list[tuple[Position, GroupEvent]]] = {cluster: [] for cluster in clusters}
    for position, event in enumerate(history):
        parts[cluster_of.get(event.process, clusters[0])].append((position, event))
    return [Observed(part) for part in parts.values()]
