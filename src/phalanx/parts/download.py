"""Assembling something large from pieces that are asked for by offset, several at a time, and may come in any order."""


class Download:
    """Until the first piece tells the total, only that is asked for.  Times are monotonic nanoseconds."""

    __slots__ = ("_asked", "_pieces", "_ready", "piece", "size", "total", "window")

    def __init__(self, piece: int, window: int) -> None:
        """`piece`: how much to ask for at a time, in bytes; `window`: how many pieces at once."""
        self.piece = piece
        self.window = window
        self.size = 0
        """Bytes from the beginning that are here without a gap."""
        self.total: int | None = None
        self._pieces: dict[int, bytes] = {}
        self._ready: list[bytes] = []
        self._asked: dict[int, int] = {}

    @property
    def complete(self) -> bool:
        return self.size == self.total

    def take(self, offset: int, total: int, data: bytes) -> bool:
        """A piece has come.  False if it was here already, or cannot belong to this."""
        if offset < self.size or offset in self._pieces or (not data and total > 0):
            return False
        if self.total not in (None, total) or offset + len(data) > total:
            return False
        self.total = total
        self._pieces[offset] = data
        self._asked.pop(offset, None)
        while self.size in self._pieces and self.size < total:
            self._ready.append(piece := self._pieces.pop(self.size))
            self.size += len(piece)
        return True

    def drain(self) -> list[bytes]:
        """What has come without a gap since this was asked last, in order."""
        ready, self._ready = self._ready, []
        for offset in [offset for offset in self._pieces if offset < self.size]:
            del self._pieces[offset]  # of one who cuts pieces larger than we ask, they overlap
        return ready

    def to_ask(self, now: int, again_after: int) -> list[int]:
        """Offsets to ask for now: new ones as the window allows, and those whose answer is overdue."""
        end = self.piece if self.total is None else self.total
        offsets: list[int] = []
        offset, ahead = self.size, 0
        while offset < end and ahead < self.window:
            data = self._pieces.get(offset)
            if data is None and now - self._asked.get(offset, now - again_after) >= again_after:
                self._asked[offset] = now
                offsets.append(offset)
            offset += len(data) if data else self.piece
            ahead += data is None
        return offsets

    def ask_again(self) -> None:
        """Whoever was asked will not answer: ask for everything that is missing anew."""
        self._asked.clear()

    def due(self, again_after: int) -> int | None:
        """When the first answer is overdue."""
        return min((at + again_after for at in self._asked.values()), default=None)
