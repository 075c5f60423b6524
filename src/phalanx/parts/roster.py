"""Look-ups in a view, made once: by name, and between sets of names and bit masks."""

from collections.abc import Collection

from phalanx.model.view import Member, Name, View


class Roster:
    """Bit masks are by the place of a member in `View.everyone`.  Masks recur, so their translations are kept."""

    __slots__ = ("_masks", "_names", "_ranks", "everyone", "members", "places")

    def __init__(self, view: View) -> None:
        self.everyone = view.everyone
        self.members: dict[Name, Member] = {m.name: m for m in self.everyone}
        self.places: dict[Name, int] = {m.name: place for place, m in enumerate(self.everyone)}
        self._ranks = len(view.members)
        self._masks: dict[frozenset[Name], int] = {}
        self._names: dict[int, frozenset[Name]] = {}

    def rank(self, name: Name) -> int:
        """Seniority of a full member; -1 if there is none of that name."""
        place = self.places.get(name, -1)
        return place if place < self._ranks else -1

    def mask(self, names: Collection[Name]) -> int:
        """The bits of those that are in the view."""
        key = frozenset(names)
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = sum(1 << self.places[name] for name in key if name in self.places)
        return mask

    def unmask(self, mask: int) -> frozenset[Name]:
        """The names of those whose bits are set; bits of nobody are ignored."""
        names = self._names.get(mask)
        if names is None:
            names = frozenset(m.name for place, m in enumerate(self.everyone) if mask >> place & 1)
            if len(self._names) < 1 << 12:  # a peer may send any mask
                self._names[mask] = names
        return names
