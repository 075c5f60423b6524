"""What is sent to workers and answered by them (lab/spread/work.py): data that comes back as it was, and who may work."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from phalanx.errors import ConfigurationError
from phalanx.lab.durable import DurableScenario
from phalanx.lab.spread import work
from phalanx.lab.spread.work import (
    Answer,
    Broken,
    Credentials,
    Done,
    Dropped,
    Order,
    Unfit,
    carry_out,
    credentials,
    decode_answer,
    decode_credentials,
    decode_order,
    encode,
    fresh_credentials,
    name_of,
    refusal,
)
from phalanx.sim.guided import Search
from phalanx.sim.run import Scenario, replay, run_seed
from tests.sim.toys import AskingScenario, HastyStoreScenario

HASTY = "tests.sim.toys:HastyStoreScenario"
OURS = Credentials("1.2", "cafe", "beef", "cpython 3.11")


def order_of(*tasks: int, scenario: str = HASTY) -> Order:
    return Order(scenario, credentials(HASTY), tasks)


def always() -> bool:
    return True


@pytest.mark.parametrize("factory", [HastyStoreScenario, AskingScenario, DurableScenario])
def test_results_come_back_as_they_were(factory: type[Scenario]) -> None:
    results = tuple(run_seed(factory, seed) for seed in range(3 if factory is DurableScenario else 60))
    assert decode_answer(encode(Done(results))) == Done(results)
    if factory is HastyStoreScenario:
        assert any(result.failures for result in results)


def test_orders_come_back_as_they_were_however_large_their_seeds() -> None:
    plans = Search(DurableScenario.swarm, 0).generation(20)
    order = msgspec.structs.replace(order_of(), tasks=(0, 2**70, *plans))
    assert decode_order(encode(order)) == order


@pytest.mark.parametrize("answer", [Unfit("tcp://a:1", "why"), Broken("text"), Dropped()])
def test_other_answers_come_back_as_they_were(answer: Answer) -> None:
    assert decode_answer(encode(answer)) == answer


def test_what_makes_no_sense_is_refused() -> None:
    for decode in (decode_order, decode_answer, decode_credentials):
        for data in (b"", b"[]", b'{"type": "Other"}'):
            with pytest.raises(msgspec.DecodeError):
                decode(data)


def test_an_order_is_carried_out() -> None:
    [plan] = Search(HastyStoreScenario.swarm, 5).generation(1)
    order = msgspec.structs.replace(order_of(), tasks=(7, plan))
    expected = run_seed(HastyStoreScenario, 7), replay(HastyStoreScenario, plan, trace=False)
    assert carry_out(order, "here", always) == Done(expected)


def test_one_that_nobody_wants_any_more_is_not_finished() -> None:
    asked: Iterator[bool] = iter((True, True, False))
    assert carry_out(order_of(1, 2, 3, 4), "here", lambda: next(asked)) == Dropped()
    assert list(asked) == []


def test_an_order_of_another_version_is_not_carried_out() -> None:
    """As a worker gets it that was started anew, with other files, where a fit one was."""
    order = msgspec.structs.replace(order_of(1), credentials=msgspec.structs.replace(credentials(HASTY), sources="old"))
    answer = carry_out(order, "tcp://a:1", always)
    assert isinstance(answer, Unfit)
    assert answer.address == "tcp://a:1"
    assert "its phalanx is another" in answer.why


def test_a_scenario_that_there_is_not_is_told_with_a_traceback() -> None:
    answer = carry_out(order_of(1, scenario="tests.sim.toys:NoSuchScenario"), "here", always)
    assert isinstance(answer, Broken)
    assert answer.text.startswith("Traceback")
    assert "NoSuchScenario" in answer.text


# --- credentials ------------------------------------------------------------------------------------------------------


def test_this_process_is_fit_for_itself() -> None:
    ours = credentials(HASTY)
    assert ours.python == f"cpython {sys.version_info.major}.{sys.version_info.minor}"
    assert decode_credentials(encode(fresh_credentials(HASTY))) == ours
    assert refusal(ours, ours) is None


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        (
            "sources",
            "f00d",
            "its phalanx is another (version 1.2, sources f00d) than the one here (version 1.2, sources cafe)",
        ),
        ("scenario", "f00d", "its module with the scenario is another"),
        ("python", "cpython 3.12", "it runs cpython 3.12, and this is cpython 3.11"),
        ("changed", True, "its files have changed since it was started: start it again"),
    ],
)
def test_whatever_may_change_results_is_a_reason_to_refuse(field: str, value: object, why: str) -> None:
    assert why in str(refusal(OURS, msgspec.structs.replace(OURS, **{field: value})))


def test_a_worker_whose_files_were_changed_meanwhile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with what it has loaded, which is not what one sees in them."""
    monkeypatch.setattr(work, "_sources", lambda: "another")
    assert fresh_credentials(HASTY).changed


def test_the_digest_is_of_names_and_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2")):
        for file in tmp_path.iterdir():
            file.unlink()
        (tmp_path / name).write_text(text)
        (tmp_path / "data.json").write_text(name)
        seen.add(work._sources())
    assert len(seen) == 3


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_scenario_goes_by_its_name() -> None:
    assert name_of(HastyStoreScenario) == HASTY
    assert name_of(DurableScenario) == "phalanx.lab.durable:DurableScenario"


def inner() -> Callable[[], Scenario]:
    class Inner(HastyStoreScenario):
        pass

    return Inner


class Elsewhere(HastyStoreScenario):
    """As a class looks that is in the program that is run."""

    __module__ = "__main__"


@pytest.mark.parametrize("factory", [lambda: HastyStoreScenario(), inner(), Elsewhere], ids=["lambda", "inner", "main"])
def test_what_others_cannot_import_is_refused(factory: Callable[[], Scenario]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be imported by other processes: it must be a class"):
        name_of(factory)
