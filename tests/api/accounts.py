"""An account whose class changes: the versions that nodes and clients of the tests have."""

import time

from phalanx.model.replicated import command, query, version


class AccountV1:
    units: int = 0

    @command
    def add(self, amount: int) -> int:
        self.units += amount
        return self.units

    @command
    def reset(self) -> None:
        self.units = 0

    @query
    def read(self) -> int:
        return self.units


@version(2, replaces=AccountV1)
class Account:
    cents: int = 0

    def upgrade(self, former: AccountV1) -> None:
        self.cents = former.units * 100

    @command
    def add(self, amount: int) -> int:
        self.cents += amount * 100
        return self.cents // 100

    @command
    def add_cents(self, amount: int) -> int:
        self.cents += amount
        return self.cents

    @query
    def read(self) -> int:
        return self.cents // 100


@version(2, replaces=AccountV1)
class Slow(AccountV1):
    """It takes the state over in longer than nodes may be silent."""

    def upgrade(self, former: AccountV1) -> None:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            pass
        self.units = former.units

    @query
    def size(self) -> int:
        return abs(self.units)


@version(2)
class Alone(Account):
    """The same, of code from which the former version is gone."""


@version(2, replaces=AccountV1)
class Failing(AccountV1):
    """It cannot take over every state."""

    def upgrade(self, former: AccountV1) -> None:
        if former.units < 0:
            raise ValueError("overdrawn")
        self.units = former.units

    @query
    def size(self) -> int:
        return abs(self.units)
