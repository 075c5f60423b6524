"""Every measure that there is, by name, and how a page of them is made.  docs/operations.md has the same table."""

from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from phalanx.metrics.histogram import BOUNDS_S, Histogram
from phalanx.metrics.library import Metric
from phalanx.model.clock import SECOND


class Family(NamedTuple):
    """One measure: its name without the suffix that its kind adds, its kind, what it says, and its labels."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name as it is on the page and in queries."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")


G, C, H = "gauge", "counter", "histogram"

# fmt: off
FAMILIES = (
    Family("phalanx_node", "info", "Which node this is.", ("name", "address", "cluster", "version")),
    Family("phalanx_ready", G, "1: what /readyz says."),
    Family("phalanx_state", G, "1 for the state that phalanx status shows.", ("state",)),
    Family("phalanx_view_id", G, "Id of the present view; -1: in none."),
    Family("phalanx_members", G, "Full members of the view."),
    Family("phalanx_learners", G, "Learners of the view."),
    Family("phalanx_survivable_failures", G, "Members that may fail at once without stopping the rest."),
    Family("phalanx_suspected", G, "1: the peer is suspected here.", ("peer",)),
    Family("phalanx_suspicions", C, "How often the peer became suspected here.", ("peer",)),
    Family("phalanx_view_changes", C, "Views installed here, by what changed.", ("reason",)),
    Family("phalanx_view_change_seconds", H, "From when this node stopped for a view change until the next view."),
    Family("phalanx_exclusions", C, "How often this node was put out, and came back as a new incarnation."),
    Family("phalanx_peer_connected", G, "1: there is a connection to the peer.", ("peer",)),
    Family("phalanx_peer_received_bytes", C, "Bytes from the peer, on the present connection.", ("peer",)),
    Family("phalanx_peer_sent_bytes", C, "Bytes to the peer that its kernel has, likewise.", ("peer",)),
    Family("phalanx_peer_resent_segments", C, "TCP segments that were sent to the peer again, likewise.", ("peer",)),
    Family("phalanx_peer_round_trip_seconds", G, "Round trip to the peer, as TCP estimates it.", ("peer",)),
    Family("phalanx_peer_unsent_bytes", G, "Bytes to the peer that wait in this process.", ("peer",)),
    Family("phalanx_clients", G, "Clients connected."),
    Family("phalanx_refused_connections", C, "Connections that came to nothing, by Process.refusals.", ("reason",)),
    Family("phalanx_tls_certificate_expiry_timestamp_seconds", G, "When this node's certificate ends, since the epoch."),
    Family("phalanx_group_hosts", G, "Full hosts of the group.", ("group",)),
    Family("phalanx_group_learners", G, "Learners of the group.", ("group",)),
    Family("phalanx_group_synced", G, "1: this node is in the group and has its state.", ("group",)),
    Family("phalanx_group_suspended", G, "1: the group waits for one of its last hosts.", ("group",)),
    Family("phalanx_group_refuses_writes", G, "1: disks have no room for the group.", ("group",)),
    Family("phalanx_group_queued_bytes", G, "Bytes that wait here to be sent.", ("group",)),
    Family("phalanx_group_unstable_bytes", G, "Bytes sent by this node that not all hosts have.", ("group",)),
    Family("phalanx_group_kept_bytes", G, "Bytes kept here because somebody may lack them.", ("group",)),
    Family("phalanx_group_unread_bytes", G, "Bytes delivered here that the application has not read.", ("group",)),
    Family("phalanx_group_sent_batches", C, "Batches sent by this node.", ("group",)),
    Family("phalanx_group_delivered_batches", C, "Batches in the state here.", ("group",)),
    Family("phalanx_group_delivered_messages", C, "Messages of a group of payloads delivered here.", ("group",)),
    Family("phalanx_group_delivered_bytes", C, "Bytes of these.", ("group",)),
    Family("phalanx_group_transfers", C, "States fetched from others, and given to others.", ("group", "direction")),
    Family("phalanx_group_fetched_bytes", C, "Bytes of the states fetched.", ("group",)),
    Family("phalanx_group_left_out_batches", C, "In the log here, left out after all hosts had failed.", ("group",)),
    Family("phalanx_object_position", G, "How many entries the state here has taken up.", ("group",)),
    Family("phalanx_object_sessions", G, "Sessions of clients.", ("group",)),
    Family("phalanx_object_version", G, "Version of the class that the group runs.", ("group",)),
    Family("phalanx_requests_received", C, "Requests of clients that came here.", ("kind",)),
    Family("phalanx_requests_answered", C, "Requests answered here, by what came of them.", ("outcome",)),
    Family("phalanx_requests_waiting", G, "Requests that wait for their groups."),
    Family("phalanx_request_seconds", H, "From arrival to result, of one request in 8.", ("kind",)),
    Family("phalanx_slow_operations", C, "How often one took longer than a heartbeat.", ("operation",)),
    Family("phalanx_sync_seconds", H, "From handing something to a file until it was durable.", ("file",)),
    Family("phalanx_log_records", C, "Records made durable in the log."),
    Family("phalanx_log_bytes", G, "Size of the log."),
    Family("phalanx_log_segments", G, "Files of the log."),
    Family("phalanx_disk_space", G, "1 for the room that the disk has: ample, low, full.", ("space",)),
    Family("phalanx_clock_offset_seconds", G, "This node's clock, less the median of the members' clocks."),
    Family("phalanx_time_ahead_seconds", G, "How far the groups' time is ahead of what these clocks allow."),
    Family("phalanx_loop_lag_seconds", H, "How late the event loop runs what is due."),
)
# fmt: on


class Page:
    """A reading of all measures; `metrics` are those of which there is something to say."""

    def __init__(self) -> None:
        self._families = {family.name: family for family in FAMILIES}
        self._metrics = {f.name: Metric(f.name, f.text, f.kind) for f in FAMILIES}

    @property
    def metrics(self) -> list[Metric]:
        return [metric for metric in self._metrics.values() if metric.samples]

    @property
    def all(self) -> list[Metric]:
        """Those without samples as well."""
        return list(self._metrics.values())

    def add(self, name: str, value: float, *labels: str) -> None:
        """One value, of a measure that is no histogram; its labels in the family's order."""
        family = self._families[name]
        self._metrics[name].add_sample(family.shown, dict(zip(family.labels, labels, strict=True)), value)

    def choice(self, name: str, chosen: str, of: Iterable[str]) -> None:
        """1 for what is chosen of all that there are, and 0 for the rest."""
        for each in of:
            self.add(name, each == chosen, each)

    def histogram(self, name: str, value: Histogram, *labels: str) -> None:
        """The durations of a measure."""
        known = dict(zip(self._families[name].labels, labels, strict=True))
        metric = self._metrics[name]
        sums = list(accumulate(value.counts))
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), sums, strict=True):
            metric.add_sample(f"{name}_bucket", {**known, "le": bound}, count)
        metric.add_sample(f"{name}_count", known, sums[-1])
        metric.add_sample(f"{name}_sum", known, value.sum_ns / SECOND)
