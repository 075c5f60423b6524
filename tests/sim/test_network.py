"""Connections and datagrams between nodes (sim/network.py), and the faults that cut them."""

from typing import Any

import pytest

from phalanx.model.clock import MILLISECOND, SECOND
from phalanx.sim.conditions import Conditions
from phalanx.sim.trace import show
from phalanx.sim.world import World
from tests.sim.toys import Do, Scripted, obey, scripted


def world_of(*names: str, seed: int = 1, conditions: Conditions | None = None) -> World:
    world = World(seed, lambda setup: Scripted(setup, obey), conditions=conditions or Conditions(stagger_ns=0))
    for name in names:
        world.add(name)
    world.run_for(MILLISECOND)
    return world


def tell(world: World, source: str, target: str, *messages: Any) -> None:
    world.request(source, Do(send=tuple((target, message) for message in messages)))


def news(world: World, name: str) -> list[str]:
    """What the node heard, without its own requests.  (As text: named tuples of different types compare equal.)"""
    return [show(event) for event in scripted(world, name).events if not isinstance(event, Do)]


def links(world: World, name: str) -> list[str]:
    """What became of its connections."""
    return [text for text in news(world, name) if ":" not in text]


# --- connections -----------------------------------------------------------------------------------------------------


def test_both_sides_learn_of_a_connection_before_anything_comes_over_it() -> None:
    world = world_of("a", "b")
    tell(world, "a", "b", 1, 2)
    world.run_for(10 * MILLISECOND)
    tell(world, "b", "a", 3)
    world.run_for(10 * MILLISECOND)
    assert news(world, "a") == ["up b", "b: 3"]
    assert news(world, "b") == ["up a", "a: 1", "a: 2"]


def test_a_connection_is_fifo_whatever_the_delays() -> None:
    wild = Conditions(delay_spread_ns=50 * MILLISECOND, delay_tail=0.3, delay_tail_ns=SECOND, stagger_ns=0)
    world = world_of("a", "b", conditions=wild)
    for number in range(200):
        tell(world, "a", "b", number)
        world.run_for(MILLISECOND)
    world.run_for(5 * SECOND)
    assert scripted(world, "b").messages == list(range(200))


def test_a_break_loses_a_suffix_and_nothing_before_it_and_both_sides_notice() -> None:
    """SCENARIOS 23: of what a crashing sender sent, some members have some."""
    lengths = set()
    for seed in range(30):
        world = world_of("a", "b", seed=seed, conditions=Conditions(delay_spread_ns=20 * MILLISECOND, stagger_ns=0))
        tell(world, "a", "b", *range(20))
        world.run_for(40 * MILLISECOND)
        tell(world, "a", "b", *range(20, 40))
        world.run_for(MILLISECOND)
        world.network.reset(world.nodes["a"], world.nodes["b"])
        world.run_for(SECOND)
        came = scripted(world, "b").messages
        assert came == list(range(len(came)))
        lengths.add(len(came))
        assert links(world, "b") in (["up a", "down a", "up a"], ["up a", "up a"]), "broken, or made anew"
        assert links(world, "a") == ["up b", "down b", "up b"]
    assert len(lengths) > 5, "the suffix differs from run to run"


def test_a_crash_of_the_sender_reaches_some_receivers_and_not_others() -> None:
    """SCENARIOS 23, 24."""
    outcomes = set()
    for seed in range(40):
        world = world_of("a", "b", "c", seed=seed)
        world.request("a", Do(send=(("b", "hello"), ("c", "hello"))))
        world.run_for(10 * MILLISECOND)
        world.request("a", Do(send=(("b", "m"), ("c", "m"))))
        world.run_for(100_000)
        world.crash("a")
        world.run_for(SECOND)
        outcomes.add(tuple("m" in scripted(world, name).messages for name in "bc"))
    assert outcomes == {(False, False), (False, True), (True, False), (True, True)}


def test_a_process_that_is_down_is_refused_quickly_and_connected_to_when_it_is_back() -> None:
    world = world_of("a", "b")
    world.crash("b")
    tell(world, "a", "b", "lost")
    world.run_for(10 * MILLISECOND)
    assert news(world, "a")[:1] == ["refused b"]
    world.start("b")
    world.run_for(2 * SECOND)
    assert news(world, "a")[-1] == "up b"
    assert news(world, "b") == ["up a"], "what was sent before is lost"


def test_a_kill_is_noticed_at_once_and_refused_then() -> None:
    world = world_of("a", "b")
    tell(world, "a", "b", "hello")
    world.run_for(10 * MILLISECOND)
    world.crash("b")
    world.run_for(10 * MILLISECOND)
    assert news(world, "a")[:3] == ["up b", "down b", "refused b"]


def test_a_host_without_power_says_nothing() -> None:
    world = world_of("a", "b", conditions=Conditions(break_after_ns=SECOND, stagger_ns=0))
    tell(world, "a", "b", "hello")
    world.run_for(10 * MILLISECOND)
    world.crash("b", host=True)
    world.run_for(400 * MILLISECOND)
    assert news(world, "a") == ["up b"]
    world.run_for(20 * SECOND)
    assert news(world, "a") == ["up b", "down b"], "and nobody ever refuses"


def test_an_unknown_address_refuses() -> None:
    world = world_of("a")
    tell(world, "a", "nobody", "hello")
    world.run_for(10 * MILLISECOND)
    assert news(world, "a") == ["refused nobody"]


def test_a_node_that_comes_back_elsewhere_is_found_there_and_not_at_the_old_address() -> None:
    """SCENARIOS 21."""
    world = world_of("a", "b")
    tell(world, "a", "b", "hello")
    world.run_for(10 * MILLISECOND)
    world.crash("b")
    world.readdress("b", "elsewhere")
    world.start("b")
    world.run_for(SECOND)
    assert "refused b" in news(world, "a")
    assert "up b" not in news(world, "a")[1:]
    tell(world, "a", "elsewhere", "found")
    tell(world, "b", "a", "here")
    world.run_for(SECOND)
    assert scripted(world, "b").messages == ["found"]
    assert "elsewhere: 'here'" in news(world, "a")


def test_a_client_has_another_address_on_each_connection_and_cannot_be_dialled() -> None:
    world = world_of("server", "~c")
    tell(world, "~c", "server", "one")
    world.run_for(10 * MILLISECOND)
    first = news(world, "server")[0].removeprefix("up ")
    assert first.startswith("~")
    tell(world, "server", first, "answer")
    world.run_for(10 * MILLISECOND)
    world.network.reset(world.nodes["~c"], world.nodes["server"])
    world.run_for(SECOND)
    second = news(world, "server")[-1].removeprefix("up ")
    assert second != first
    tell(world, "server", first, "to nobody")
    tell(world, "server", "~c", "to nobody")
    tell(world, "server", second, "again")
    world.run_for(SECOND)
    assert scripted(world, "~c").messages == ["answer", "again"]


# --- cuts ------------------------------------------------------------------------------------------------------------


def test_a_short_cut_delays_messages_and_keeps_the_connection() -> None:
    world = world_of("a", "b", conditions=Conditions(break_after_ns=10 * SECOND, stagger_ns=0))
    tell(world, "a", "b", 1)
    world.run_for(10 * MILLISECOND)
    a, b = world.nodes["a"], world.nodes["b"]
    world.network.block(a, b)
    tell(world, "a", "b", 2, 3)
    world.run_for(SECOND)
    assert scripted(world, "b").messages == [1]
    world.network.unblock(a, b)
    world.run_for(10 * MILLISECOND)
    assert news(world, "b") == ["up a", "a: 1", "a: 2", "a: 3"]


def test_a_long_cut_breaks_the_connection_silently_and_it_comes_back_after() -> None:
    world = world_of("a", "b", conditions=Conditions(break_after_ns=SECOND, stagger_ns=0))
    tell(world, "a", "b", 1)
    world.run_for(10 * MILLISECOND)
    a, b = world.nodes["a"], world.nodes["b"]
    for one, other in ((a, b), (b, a)):
        world.network.block(one, other)
    tell(world, "a", "b", 2)
    world.run_for(20 * SECOND)
    assert news(world, "a") == ["up b", "down b"], "no refusal: nobody answers"
    assert news(world, "b") == ["up a", "a: 1", "down a"]
    for one, other in ((a, b), (b, a)):
        world.network.unblock(one, other)
    world.run_for(SECOND)
    assert news(world, "a")[-1] == "up b"


def test_a_one_way_cut_stops_one_way_only() -> None:
    """SCENARIOS 14; DESIGN 13.16: a member that can send but not hear."""
    for lossy in (False, True):
        world = world_of("a", "b", conditions=Conditions(lossy=lossy, break_after_ns=60 * SECOND, stagger_ns=0))
        tell(world, "a", "b", "x")
        world.run_for(10 * MILLISECOND)
        world.network.block(world.nodes["a"], world.nodes["b"])
        tell(world, "a", "b", "y")
        tell(world, "b", "a", "z")
        world.run_for(SECOND)
        assert (scripted(world, "a").messages, scripted(world, "b").messages) == (["z"], ["x"])


def test_a_connection_breaks_when_more_waits_for_it_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on everything (STYLE 10): WAITING_MAX."""
    monkeypatch.setattr("phalanx.sim.network.WAITING_MAX", 10)
    world = world_of("a", "b", conditions=Conditions(break_after_ns=1000 * SECOND, stagger_ns=0))
    tell(world, "a", "b", "first")
    world.run_for(10 * MILLISECOND)
    world.network.block(world.nodes["a"], world.nodes["b"])
    tell(world, "a", "b", *range(10))
    world.run_for(SECOND)
    assert links(world, "a") == ["up b"]
    tell(world, "a", "b", "one too many")
    world.run_for(SECOND)
    assert links(world, "a") == ["up b", "down b"]


def test_a_node_stops_dialling_where_it_has_not_sent_for_long() -> None:
    """INTEREST_NS: else every former member would be dialled for ever."""
    world = world_of("a", "b")
    world.crash("b")
    tell(world, "a", "b", "hello")
    world.run_for(60 * SECOND)
    before = len(news(world, "a"))
    world.run_for(60 * SECOND)
    assert len(news(world, "a")) == before
    world.start("b")
    world.run_for(SECOND)
    tell(world, "a", "b", "hello again")
    world.run_for(SECOND)
    assert scripted(world, "b").messages == ["hello again"]


# --- datagrams -------------------------------------------------------------------------------------------------------


def test_datagrams_come_in_any_order_doubled_late_and_lost() -> None:
    """model/machine.py, `Received`: no machine may rely on more."""
    conditions = Conditions(lossy=True, duplicate=0.3, late=0.1, late_ns=SECOND, stagger_ns=0)
    world = world_of("a", "b", conditions=conditions)
    tell(world, "a", "b", *range(300))
    world.run_for(5 * SECOND)
    came = scripted(world, "b").messages
    assert set(came) == set(range(300)), "nothing is lost as long as no fault says so"
    assert came != sorted(came)
    assert 350 < len(came) < 450
    world.network.loss = 0.5
    tell(world, "a", "b", *range(1000, 1300))
    world.run_for(5 * SECOND)
    assert 100 < len({n for n in scripted(world, "b").messages if n >= 1000}) < 200


def test_a_datagram_can_reach_the_next_life_of_a_process() -> None:
    """SCENARIOS 27: frames for an older incarnation."""
    world = world_of("a", "b", conditions=Conditions(lossy=True, late=1.0, late_ns=SECOND, stagger_ns=0))
    tell(world, "a", "b", *range(20))
    world.run_for(100 * MILLISECOND)
    world.crash("b")
    world.start("b")
    world.run_for(2 * SECOND)
    assert scripted(world, "b").setup.life == 2
    assert scripted(world, "b").messages
