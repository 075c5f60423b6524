"""The groups of one process, by name and by the place that they have in its view."""

from collections.abc import Iterator

from phalanx.api.events import Changed
from phalanx.api.groups import Group
from phalanx.model.view import GroupId, Member, View


class Seats:
    """See the module's text."""

    def __init__(self) -> None:
        self._named: dict[str, Group] = {}
        self._placed: dict[GroupId, Group] = {}
        """Those in which this process has a place in the view."""
        self.sending: set[Group] = set()
        """Those that are to hear when the machine has taken what was handed to it."""

    def __contains__(self, name: str) -> bool:
        return name in self._named

    def __iter__(self) -> Iterator[Group]:
        return iter(self._named.values())

    def named(self, name: str) -> Group | None:
        return self._named.get(name)

    def at(self, group: GroupId) -> Group | None:
        """The group of that id in the present view."""
        return self._placed.get(group)

    def add(self, group: Group, me: str, view: View | None) -> None:
        """This process asks for the group; it may be in it already, if the group came back from the log before."""
        self._named[group.name] = group
        place = view.group_named(group.name) if view is not None else None
        if place is not None and me in place.everyone and place.spec == group.spec:
            self._place(group, place.id)

    def drop(self, name: str) -> None:
        """It does not ask for it any more."""
        if (group := self._named.pop(name, None)) is not None:
            self._place(group, None)

    def installed(self, view: View, me: Member) -> None:
        """A view began."""
        for name, group in self._named.items():
            place = view.group_named(name)
            here = place is not None and me.name in place.everyone
            self._place(group, place.id if place is not None and here else None)
            if here:
                group._take(Changed(view), me)

    def left(self) -> None:
        """This process is in no view: nothing that is delivered is for its groups."""
        self._placed.clear()

    def drained(self) -> None:
        """The machine has taken what was handed to it."""
        for group in list(self.sending):
            group._drained()

    def _place(self, group: Group, place: GroupId | None) -> None:
        if group.id is not None:
            self._placed.pop(group.id, None)
        if place is not None:
            self._placed[place] = group
        group._seat(place)
