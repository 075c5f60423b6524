"""What must hold in every state that is visited, judged from what the three applications have seen.

Three histories say all that the judges of `check.groups` ask, but for the order of events of different processes.  They
read it only to know that what is delivered was sent before, and what a state holds was delivered before, which holds in
a merge in the order of causes; and for `fencing`, which is about real time, and is left to the simulator.
"""

from phalanx.check.groups import check_groups
from phalanx.lab.explore.members import Members, StateId
from phalanx.model.history import GroupEvent, SawMessage, SawState, Sent
from phalanx.model.view import View


class Oracle:
    """Judges every combination of histories once."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._of_state: list[int] = []
        """By state, the number of what its application has seen."""
        self._ids: dict[tuple[tuple[GroupEvent, ...], View | None], int] = {}
        self._seen: list[tuple[tuple[GroupEvent, ...], View | None]] = []
        self._verdicts: dict[tuple[int, int, int], str | None] = {}

    def judge(self, a: StateId, b: StateId, c: StateId) -> str | None:
        """What is wrong with these three together; None if nothing is."""
        of_state = self._of_state
        if len(of_state) < len(self._members.states):
            self._number()
        key = of_state[a], of_state[b], of_state[c]
        if key not in self._verdicts:
            self._verdicts[key] = self._verdict(*(self._seen[i] for i in key))
        return self._verdicts[key]

    @property
    def outcomes(self) -> set[tuple[tuple[tuple[GroupEvent, ...], View | None], ...]]:
        """What the applications saw together, over all that was judged."""
        return {tuple(self._seen[i] for i in key) for key in self._verdicts}

    def _number(self) -> None:
        for state in self._members.states[len(self._of_state) :]:
            seen = state.history, state.parting
            number = self._ids.setdefault(seen, len(self._seen))
            if number == len(self._seen):
                self._seen.append(seen)
            self._of_state.append(number)

    def _verdict(self, *seen: tuple[tuple[GroupEvent, ...], View | None]) -> str | None:
        merged = _merge([history for history, _ in seen])
        successors = {parting.id: parting for _, parting in seen if parting is not None}
        for _, parting in seen:
            if parting is not None and successors[parting.id] != parting:
                return f"view_agreement: two members were excluded by two views {parting.id}"
        for event in merged:
            view = getattr(event, "view", None)
            if isinstance(view, View) and successors.get(view.id, view) != view:
                return f"view_agreement: {event.process} installed another view {view.id} than the one that excluded"
        wrong = [v for v in check_groups(merged, leavers=()) if v.property != "fencing"]
        return f"{wrong[0].property}: {wrong[0].text}" if wrong else None


def _merge(histories: list[tuple[GroupEvent, ...]]) -> list[GroupEvent]:
    """One sequence in which what is delivered was sent before, and what a state holds was delivered before, as far as
    it was at all: the order of causes, which every order in real time extends."""
    left = [list(reversed(history)) for history in histories]
    to_send = {e.payload for history in histories for e in history if isinstance(e, Sent)}
    to_deliver = {e.payload for history in histories for e in history if isinstance(e, SawMessage)}
    merged: list[GroupEvent] = []

    def waits(event: GroupEvent) -> bool:
        if isinstance(event, SawState):
            return not to_deliver.isdisjoint(event.payloads) or not to_send.isdisjoint(event.payloads)
        return isinstance(event, SawMessage) and event.payload in to_send

    while any(left):
        ready = next((q for q in left if q and not waits(q[-1])), None) or next(q for q in left if q)
        event = ready.pop()
        merged.append(event)
        if isinstance(event, Sent):
            to_send.discard(event.payload)
        elif isinstance(event, SawMessage):
            to_deliver.discard(event.payload)
    return merged
