"""What a healed and drained cluster owes: properties of the end of a history.

Sources: Chockler, Keidar, Vitenberg (CKV, see `views`), on liveness; DESIGN section 2: a quorum that can talk to each
other, and failure detection that has stopped erring, are what progress needs.
"""

from collections.abc import Collection, Iterator

from phalanx.check.observed import Installation, Log, Observed, Violation
from phalanx.model.view import GroupId, Member


def convergence(run: Observed, final_members: Collection[Member]) -> Iterator[Violation]:
    """At the end of a run that was healed and drained, all final members are in one view, as full members (CKV,
    Membership Accuracy, under an eventually perfect failure detector)."""
    last: Installation | None = None
    for process in sorted(final_members):
        here, _ = run.current(process)
        if here is None:
            yield Violation("convergence", f"{process} is a final member but installed no view of the cluster", ())
        elif process not in here.view.members:
            text = f"{process} is a final member but no full member of its last view {here.view.id}"
            yield Violation("convergence", text, (here.position,))
        elif last is not None and here.view.id != last.view.id:
            text = f"{last.process} ended in view {last.view.id}, {process} in view {here.view.id}"
            yield Violation("convergence", text, (last.position, here.position))
        else:
            last = here


def reliable_delivery(run: Observed, final_members: Collection[Member]) -> Iterator[Violation]:
    """At the end of a run that was healed and drained, every final full host of g holds every message of g that any
    final full host holds, and every message sent to g by a final full host that has been in g ever since (CKV, Self
    Delivery and Termination of Delivery)."""
    final = _final_logs(run, final_members)
    owed: dict[GroupId, dict[bytes, str]] = {group: {} for group in final}
    for (group, payload), send in run.sends.items():
        if send.sender in final.get(group, ()) and send.stay == run.stay(send.sender, group):
            owed[group][payload] = f"which {send.sender} sent"
    for group, logs in final.items():
        for process, log in logs.items():
            for payload in log.held if log is not None else ():
                owed[group].setdefault(payload, f"which {process} holds")
        for process, log in logs.items():
            lost = [payload for payload in owed[group] if log is None or payload not in log.held]
            if lost:
                text = f"{process} never delivered {lost[0]!r} of group {group}, {owed[group][lost[0]]}"
                more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
                sends = (run.sends.get((group, payload)) for payload in lost)
                yield Violation("reliable_delivery", text + more, tuple(send.position for send in sends if send))


def _final_logs(run: Observed, final_members: Collection[Member]) -> dict[GroupId, dict[Member, Log | None]]:
    """For each group what its final full hosts hold."""
    final: dict[GroupId, dict[Member, Log | None]] = {}
    for process in sorted(final_members):
        here, logs = run.current(process)
        for group in sorted(here.hosts) if here is not None else ():
            final.setdefault(group, {})[process] = logs.get(group)
    return final
