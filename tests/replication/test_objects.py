"""A plain typed class becomes an object type (DESIGN sections 1 and 9)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mypy import api as mypy

from phalanx.errors import ConfigurationError
from phalanx.model.procedures import procedure
from phalanx.model.replicated import OUTSIDE, CommandFailed, Context, command, feed, query
from phalanx.replication.objects import describe
from phalanx.replication.outcome import raised
from phalanx.replication.positions import position_of
from tests.replication.samples import ACCOUNT, Account, InsufficientFunds, Undeclared


def test_the_class_stays_plain() -> None:
    account = Account()
    assert account.add(3) == 3
    assert account.stamp(context=Context(stamp=5 << 16, token=9)) == (5, 9)


def test_an_invocation_travels_and_comes_back() -> None:
    invocation = ACCOUNT.invoke(Account.add, amount=3)
    operation = invocation.operation
    outcome = operation.run(Account(), operation.decode(invocation.arguments), OUTSIDE)
    assert invocation.result(outcome) == 3


def test_a_declared_exception_arrives_as_itself_and_another_by_name() -> None:
    invocation = ACCOUNT.invoke(Account.take, 5)
    with pytest.raises(InsufficientFunds) as caught:
        invocation.result(raised(InsufficientFunds("short by", 2)))
    assert caught.value.args == ("short by", 2)
    with pytest.raises(ValueError, match="standard"):
        invocation.result(raised(ValueError("standard")))
    with pytest.raises(CommandFailed, match="Undeclared: oops"):
        invocation.result(raised(Undeclared("oops")))


class Unsayable(Exception):
    """The text of what it says ends the process."""

    def __str__(self) -> str:
        raise SystemExit(3)


def test_an_exception_always_has_a_text_that_can_travel() -> None:
    assert raised(ValueError("half \udc80")).text == "half \\udc80"
    assert raised(Unsayable()).text == "(its text cannot be told: SystemExit)"


class Place(int):
    """Has no encoding."""


@pytest.mark.parametrize(
    ("value", "error"), [("7", TypeError), (None, TypeError), (-1, ValueError), (1 << 64, ValueError)]
)
def test_a_position_is_what_can_be_told(value: object, error: type[Exception]) -> None:
    assert [(type(each), each) for each in map(position_of, (0, Place(7), True, (1 << 64) - 1))] == [
        (int, 0),
        (int, 7),
        (int, 1),
        (int, (1 << 64) - 1),
    ]
    with pytest.raises(error):
        position_of(value)


def nested() -> list[Any]:
    inner: list[Any] = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize("amount", [object(), 1 << 80, "\ud800", nested()], ids=["object", "huge", "half", "nested"])
def test_an_argument_without_an_encoding_is_a_type_error_that_names_the_method(amount: Any) -> None:
    with pytest.raises(TypeError, match=r"Account.add: an argument cannot be encoded"):
        ACCOUNT.invoke(Account.add, amount)


def test_a_method_is_given_as_that_of_the_class() -> None:
    unknown: Any
    for unknown, why in (
        ([], r"\[\] is no method of Account"),
        ("add", "'add' is no method of Account"),
        (Account().add, "Account.add is bound to an instance of yours: give the method of the class"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            ACCOUNT.operation(unknown)


class Generates:
    @command
    async def add(self) -> int:  # type: ignore[misc]  # wrong on purpose
        yield 1


class Misspelt:
    @command
    def add(self, amount: int) -> int: ...  # type: ignore[empty-body]  # it is not called


Misspelt.add.__annotations__["amount"] = "int.nothing"


class Unmade:
    def __init__(self) -> None:
        raise OSError("no disk")

    @command
    def add(self) -> int: ...  # type: ignore[empty-body]  # it is not called


class Unannotated:
    value: int = 0

    @command
    def add(self) -> int: ...  # type: ignore[empty-body]  # it is not called


Unannotated.__annotations__["value"] = "int |"


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (Generates, "Generates.add must be a plain method, neither async nor a generator"),
        (Misspelt, "Misspelt.add: an annotation cannot be resolved"),
        (Unmade, r"Unmade\(\) raised OSError: no disk"),
        (Unannotated, "Unannotated: an annotation cannot be resolved"),
    ],
)
def test_what_cannot_be_replicated_is_said_of_the_class(cls: type[Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        describe(cls)


@pytest.mark.parametrize(
    ("decorate", "options", "why"),
    [
        (command, {"name": 5}, "@command: name must be a str that can be printed, not 5"),
        (command, {"name": "\ud800"}, "@command: name must be a str that can be printed"),
        (command, {"version": "1"}, "@command: version must be at least 1, not '1'"),
        (command, {"version": True}, "@command: version must be at least 1, not True"),
        (command, {"raises": ValueError}, "@command: raises must list classes of exceptions, not <class"),
        (command, {"atomic": "no"}, "@command: atomic must be True or False, not 'no'"),
        (query, {"raises": 5}, "@query: raises must list classes of exceptions, not 5"),
        (procedure, {"name": b"x"}, "@procedure: name must be a str that can be printed"),
        (procedure, {"version": 1.5}, "@procedure: version must be at least 1, not 1.5"),
        (procedure, {"raises": ValueError}, "@procedure: raises must list classes of exceptions"),
    ],
)
def test_a_mark_that_makes_no_sense_is_refused(decorate: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        decorate(**options)


def test_arguments_that_do_not_fit_are_a_type_error_at_the_caller() -> None:
    with pytest.raises(TypeError, match="amount"):
        ACCOUNT.invoke(Account.add)  # type: ignore[call-arg]  # that is what is tested
    with pytest.raises(ConfigurationError, match="no method of Account"):
        ACCOUNT.invoke(Account.__init__)


class Styles:
    @query
    def asked(self, a: int, b: int = 2, *, c: int = 3, context: Context = OUTSIDE, d: int = 4) -> int:
        return a + b + c + d + context.position

    @query
    def told(self, a: int, *, b: int) -> int:
        return a + b


STYLES = describe(Styles)


@pytest.mark.parametrize(
    ("args", "kwargs", "travels"),
    [
        ((1,), {}, [1, 2, 3, 4]),
        ((1, 0), {}, [1, 0, 3, 4]),
        ((1,), {"d": 0}, [1, 2, 3, 0]),
        ((), {"c": 0, "a": 1}, [1, 2, 0, 4]),
        ((), {}, None),
        ((1, 0, 0), {}, None),
        ((1, 0, 0, 0), {}, None),
        ((1,), {"a": 1}, None),
        ((1,), {"context": OUTSIDE}, None),
    ],
)
def test_arguments_are_taken_as_the_method_takes_them(
    args: tuple[int, ...], kwargs: dict[str, Any], travels: list[int] | None
) -> None:
    if travels is None:
        with pytest.raises(TypeError, match="asked"):
            STYLES.invoke(Styles.asked, *args, **kwargs)
    else:
        assert msgspec.msgpack.decode(STYLES.invoke(Styles.asked, *args, **kwargs).arguments) == travels


def test_what_must_be_passed_by_its_name_is() -> None:
    assert msgspec.msgpack.decode(STYLES.invoke(Styles.told, 1, b=2).arguments) == [1, 2]
    for args in ((1,), (1, 2)):
        with pytest.raises(TypeError, match="told"):
            STYLES.invoke(Styles.told, *args)  # type: ignore[call-arg]  # that is what is tested


SNIPPET = """
from tests.replication.samples import ACCOUNT, Account
good: int = ACCOUNT.invoke(Account.stamp).operation.types
fine = ACCOUNT.invoke(Account.add, 3)
{line}
"""


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("ACCOUNT.invoke(Account.add, 4)", ""),
        ("ACCOUNT.invoke(Account.add, 'x')", 'has incompatible type "str"'),
        ("ACCOUNT.invoke(Account.add)", "Missing positional argument"),
        ("wrong: str = ACCOUNT.invoke(Account.read).result(None)  # type: ignore[arg-type]", "[assignment]"),
    ],
)
def test_mypy_checks_an_invocation_as_it_checks_the_method(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET.format(line=line))
    cache = str(Path(__file__).parents[2] / ".mypy_cache")
    text, _, status = mypy.run([str(file), "--config-file", "pyproject.toml", "--cache-dir", cache])
    assert (status != 0) is bool(complaint), text
    assert complaint in text


def broken_by_parameter() -> type:
    class Broken:
        @command
        def set(self, value) -> None: ...  # type: ignore[no-untyped-def]  # that is what is tested

    return Broken


def broken_by_result() -> type:
    class Broken:
        @query
        def get(self): ...  # type: ignore[no-untyped-def]  # that is what is tested

    return Broken


def broken_by_codec() -> type:
    class Broken:
        @command
        def set(self, value: Account) -> None: ...

    return Broken


def broken_by_attribute() -> type:
    class Broken:
        def __init__(self) -> None:
            self.hidden = 1

        @command
        def set(self) -> None: ...

    return Broken


def broken_by_constructor() -> type:
    class Broken:
        def __init__(self, size: int) -> None: ...

        @command
        def set(self) -> None: ...

    return Broken


def broken_by_keys() -> type:
    class Broken:
        @feed()
        def watch(self, position: int, start: str, end: str | None) -> list[str]: ...  # type: ignore[empty-body]  # never called

    return Broken


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (broken_by_keys, "Broken.watch: a feed's parameters begin with position, start: bytes"),
        (broken_by_parameter, "Broken.set: parameter 'value' needs a type annotation"),
        (broken_by_result, "Broken.get: the result needs a type annotation"),
        (broken_by_codec, "Broken.set, parameter 'value': Account has no codec"),
        (broken_by_attribute, "Broken.hidden has no annotation"),
        (broken_by_constructor, "constructible without arguments"),
    ],
)
def test_what_cannot_be_replicated_is_named(make: Callable[[], type], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        describe(make())


def counter(parameter: type, version: int = 1, doc: str = "") -> str:
    class Counter:
        def add(self, amount: int) -> None: ...

    Counter.__doc__ = doc
    Counter.add.__annotations__["amount"] = parameter
    command(version=version)(Counter.add)
    return describe(Counter).contract


def test_the_contract_follows_types_and_versions_and_nothing_else() -> None:
    """SCENARIOS 37."""
    assert counter(int, doc="one") == counter(int, doc="two")
    assert len({counter(int), counter(str), counter(int, version=2)}) == 3


@dataclasses.dataclass
class Shelf:
    """A dataclass with nested state."""

    books: dict[str, set[str]] = dataclasses.field(default_factory=dict)

    @command
    def put(self, shelf: str, book: str) -> None:
        self.books.setdefault(shelf, set()).add(book)


class Tally(msgspec.Struct):
    """A struct."""

    counts: dict[str, int] = {}

    @command
    def one(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


def test_dataclasses_and_structs_are_saved_by_their_fields() -> None:
    shelf = Shelf()
    shelf.put("x", "b")
    assert describe(Shelf).state.restore(describe(Shelf).state.snapshot(shelf)) == shelf
    tally = Tally()
    tally.one("n")
    assert describe(Tally).state.restore(describe(Tally).state.snapshot(tally)) == tally


def test_a_digest_does_not_depend_on_the_order_of_sets_but_a_snapshot_keeps_that_of_dictionaries() -> None:
    codec = describe(Shelf).state
    assert codec.digest(Shelf({"x": {"a", "b"}})).value == codec.digest(Shelf({"x": {"b", "a"}})).value
    restored = codec.restore(codec.snapshot(Shelf({"z": set(), "a": set()})))
    assert list(restored.books) == ["z", "a"]
