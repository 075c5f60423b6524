"""Client histories for tests: written by hand, or recorded from a simulated store that is linearizable."""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from phalanx.model.history import Operation, Outcome

Effect = Callable[[dict[Any, Any], str, Any, Any], tuple[bool, Any]]
"""(the store, f, key, argument) -> (whether it was granted, the result)"""

Draw = Callable[[random.Random, int], tuple[str, Any]]
"""(chance, a number that was not used before) -> (f, argument)"""


def op(
    process: int, f: str, argument: Any, result: Any, begin: int, end: int | None, key: Any = None, how: str = "ok"
) -> Operation:
    """An operation in one line; without an end it is pending."""
    outcome = Outcome(how) if end is not None else Outcome.INFO
    return Operation(process, f, key, argument, result, outcome, begin, end)


def cell_effect(store: dict[Any, Any], f: str, key: Any, argument: Any) -> tuple[bool, Any]:
    """Registers, the mutex, and both key-value models, in one obviously right function."""
    current = store.get(key)
    match f:
        case "read" | "get":
            return True, current
        case "write" | "put":
            store[key] = argument
        case "append":
            store[key] = (current or "") + argument
        case "delete":
            store[key] = None
        case "acquire" | "release" if bool(current) == (f == "acquire"):
            return False, None
        case "acquire" | "release":
            store[key] = f == "acquire"
        case "cas" if current != argument[0]:
            return False, None
        case "cas":
            store[key] = argument[1]
    return True, None


def transaction_effect(store: dict[Any, Any], f: str, key: Any, argument: Any) -> tuple[bool, Any]:
    """The multi-register: micro-operations one after another."""
    assert f == "txn"
    result = []
    for what, name, value in argument:
        if what == "w":
            store[key, name] = value
        result.append([what, name, store.get((key, name))])
    return True, result


def draw_cas_register(rng: random.Random, number: int) -> tuple[str, Any]:
    del number
    f = rng.choice(["read", "read", "write", "cas"])
    value = rng.randrange(3)
    return f, {"read": None, "write": value, "cas": [rng.randrange(3), value]}[f]


def draw_unique(rng: random.Random, number: int) -> tuple[str, Any]:
    return ("read", None) if rng.random() < 0.5 else ("write", number)


def draw_kv(rng: random.Random, number: int) -> tuple[str, Any]:
    f = rng.choice(["get", "get", "append", "append", "put"])
    return f, None if f == "get" else "abc"[number % 3]


def draw_texts(rng: random.Random, number: int) -> tuple[str, Any]:
    """Every text is another, and most results can be put together of them in one way only (not "112")."""
    f = rng.choice(["get", "append", "append", "append", "put"])
    return f, None if f == "get" else str(number)


def draw_marked(rng: random.Random, number: int) -> tuple[str, Any]:
    """As our own load does it: appended texts that name themselves, few reads, now and then a new beginning."""
    f = rng.choices(["get", "append", "put"], (20, 75, 5))[0]
    return f, None if f == "get" else f"{number} "


def draw_kv_cas(rng: random.Random, number: int) -> tuple[str, Any]:
    f, argument = draw_cas_register(rng, number)
    if f == "write" and argument == 0:
        return "delete", None
    return {"read": "get", "write": "put", "cas": "cas"}[f], argument


def draw_mutex(rng: random.Random, number: int) -> tuple[str, Any]:
    del number
    return rng.choice(["acquire", "release"]), None


def draw_transaction(rng: random.Random, number: int) -> tuple[str, Any]:
    names = rng.sample("xyz", rng.randint(1, 2))
    return "txn", [["w", name, number % 3] if rng.random() < 0.5 else ["r", name, None] for name in names]


class _Running(NamedTuple):
    f: str
    key: Any
    argument: Any
    begin: int
    answer: tuple[bool, Any] | None


def record(
    rng: random.Random,
    draw: Draw,
    effect: Effect,
    size: int,
    processes: int,
    info: float = 0.1,
    keys: Sequence[Any] = (None,),
) -> list[Operation]:
    """What clients of a linearizable store see: each operation takes effect at one moment between begin and end, or,
    if its client gave up (with probability `info`), at any later one or never."""
    store: dict[Any, Any] = {}
    running: dict[int, _Running] = {}
    given_up: list[_Running] = []
    history: list[Operation] = []
    names, begun, now = processes, 0, 0
    idle = list(range(processes))
    while begun < size or running:
        now += 1
        if given_up and rng.random() < 0.1:
            late = given_up.pop(rng.randrange(len(given_up)))
            effect(store, late.f, late.key, late.argument)
        if idle and begun < size and rng.random() < 0.5:
            f, argument = draw(rng, begun)
            running[idle.pop(rng.randrange(len(idle)))] = _Running(f, rng.choice(keys), argument, now, None)
            begun += 1
            continue
        if not running:
            continue
        process = rng.choice(list(running))
        f, key, argument, begin, answer = running[process]
        if answer is None and rng.random() >= info:
            running[process] = running[process]._replace(answer=effect(store, f, key, argument))
            continue
        if answer is None:
            given_up.append(running.pop(process))
            history.append(Operation(process, f, key, argument, None, Outcome.INFO, begin, rng.choice([None, now])))
            idle.append(names)
            names += 1
            continue
        outcome = Outcome.OK if answer[0] else Outcome.FAIL
        history.append(Operation(process, f, key, argument, answer[1], outcome, begin, now))
        del running[process]
        idle.append(process)
    return history
