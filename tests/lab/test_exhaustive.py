"""The search that goes through every run of a program."""

import itertools

import pytest

from phalanx.lab.exhaustive import Choices, every


def test_every_sequence_of_answers_comes_once_and_in_order() -> None:
    runs = list(every(lambda choices: (choices.pick("ab"), choices.pick((1, 2, 3)), choices.pick("x"))))
    assert runs == list(itertools.product("ab", (1, 2, 3), "x"))


def test_later_questions_may_depend_on_earlier_answers() -> None:
    def program(choices: Choices) -> str:
        return choices.pick("ab") + (choices.pick("cd") if choices.pick((True, False)) else "")

    assert list(every(program)) == ["ac", "ad", "a", "bc", "bd", "b"]


def test_a_program_without_questions_runs_once() -> None:
    assert list(every(lambda _: 1)) == [1]


def test_more_runs_than_allowed_are_an_error() -> None:
    assert len(list(every(lambda choices: choices.pick("abc"), runs_max=3))) == 3
    with pytest.raises(OverflowError, match="more than 2 runs"):
        list(every(lambda choices: choices.pick("abc"), runs_max=2))


def test_a_program_that_depends_on_something_else_is_noticed() -> None:
    calls = itertools.count()
    with pytest.raises(AssertionError, match="something else"):
        list(every(lambda choices: choices.pick("ab" if next(calls) % 2 else "abc")))
    calls = itertools.count()
    with pytest.raises(AssertionError, match="something else"):
        list(every(lambda choices: choices.pick("ab") if next(calls) == 0 else ""))
