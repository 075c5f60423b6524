"""Every property of the oracle can fail: bugs planted in correct histories are found under the right name."""

from functools import cache
from random import Random

import pytest

from phalanx.check.groups import PROPERTIES, check_groups, check_progress
from phalanx.check.progress import convergence, reliable_delivery
from phalanx.check.views import primary_chain
from phalanx.model.history import GroupEvent
from phalanx.model.view import Member
from tests.check import planted, planted_states
from tests.check.group_model import DurableModel, GroupModel, shuffled
from tests.check.planted import Plant

SAFETY: list[tuple[str, Plant]] = [
    ("self_inclusion", planted.a_stranger_installs_a_view),
    ("local_monotony", planted.a_process_goes_back_a_view),
    ("view_agreement", planted.a_process_installs_another_value),
    ("well_formed_views", planted.a_view_lists_two_incarnations),
    ("well_formed_views", planted.a_group_is_hosted_by_an_outsider),
    ("well_formed_views", planted.a_group_has_its_hosts_in_another_order),
    ("primary_chain", planted.strangers_take_over),
    ("primary_chain", planted.a_minority_installs_a_view),
    ("removal_is_final", planted.a_removed_member_returns),
    ("seniority", planted.the_younger_becomes_the_elder),
    ("group_identity", planted.a_group_changes_its_order),
    ("group_identity", planted.a_lost_group_returns_under_its_id),
    ("delivery_integrity", planted.nobody_sent_it),
    ("delivery_integrity", planted.another_sent_it),
    ("delivery_integrity", planted.it_was_delivered_before_it_was_sent),
    ("delivery_integrity", planted.a_state_holds_what_was_never_sent),
    ("no_duplication", planted.it_is_delivered_twice),
    ("no_duplication", planted.it_is_delivered_after_the_state_that_has_it),
    ("nothing_after_stop", planted.a_dead_process_delivers),
    ("delivery_in_view", planted.it_is_said_to_be_of_the_next_view),
    ("delivery_in_view", planted.one_that_does_not_host_the_group_delivers),
    ("delivery_in_view", planted.a_learner_delivers_without_a_state),
    ("virtual_synchrony", planted.a_survivor_misses_a_delivery),
    ("same_view_delivery", planted.a_survivor_delivers_it_a_view_late),
    ("uniformity", planted.a_survivor_misses_what_another_delivered_uniformly),
    ("fencing", planted.an_excluded_holder_goes_on_alone),
    ("polite_leave", planted.one_leaves_without_a_message_of_its_own),
    ("fifo_order", planted.two_of_one_sender_change_places),
    ("fifo_order", planted.a_message_is_skipped_by_everybody),
    ("causal_order", planted.an_effect_comes_before_its_cause),
    ("total_order", planted.two_change_places_in_total_order),
    ("founding", planted_states.a_group_is_founded_again),
    ("founding", planted_states.a_stranger_founds_a_group),
    ("state_transfer", planted_states.a_state_lacks_a_message),
    ("state_transfer", planted_states.a_state_is_ahead_of_all_deliveries),
    ("state_transfer", planted_states.a_learner_is_promoted_without_a_state),
    ("durability", planted_states.a_durable_group_forgets_a_message),
    ("copies", planted_states.a_message_has_too_few_copies),
]

PROGRESS: list[tuple[str, Plant]] = [
    ("convergence", planted.a_final_member_never_hears_of_the_last_view),
    ("reliable_delivery", planted.a_final_host_misses_a_message),
    ("reliable_delivery", planted.a_message_of_a_final_member_is_lost),
]

ENOUGH = 12
"""Histories in which a bug is planted and must be found."""


@cache
def _sound(seed: int) -> tuple[list[GroupEvent], tuple[Member, ...]]:
    model = GroupModel(seed, nodes=3 + seed % 3)
    return shuffled(model.run_and_heal(views=3, steps=120), Random(seed)), model.view.members


def _broken(plant: Plant) -> list[tuple[int, list[GroupEvent], tuple[Member, ...]]]:
    found = []
    for seed in range(300):
        history, final = _sound(seed)
        broken = plant(history, Random(seed))
        if broken is not None:
            found.append((seed, broken, final))
        if len(found) == ENOUGH:
            return found
    raise AssertionError(f"only {len(found)} histories offer a place for this bug")


@pytest.mark.parametrize(("name", "plant"), SAFETY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_bug_is_found_under_the_name_of_the_property_it_breaks(name: str, plant: Plant) -> None:
    for seed, history, _ in _broken(plant):
        assert name in {v.property for v in check_groups(history, leavers=())}, seed


@pytest.mark.parametrize(("name", "plant"), PROGRESS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_lack_of_progress_is_found_under_the_name_of_the_property_it_breaks(name: str, plant: Plant) -> None:
    for seed, history, final in _broken(plant):
        assert name in {v.property for v in check_progress(history, final)}, seed


def test_every_property_has_a_bug_that_breaks_it() -> None:
    stated = {p.__name__ for p in (*PROPERTIES, primary_chain, convergence, reliable_delivery)}
    assert stated == {name for name, _ in SAFETY + PROGRESS}


@pytest.mark.parametrize("block", range(8))
def test_no_alarm_is_raised_on_a_thousand_virtually_synchronous_histories(block: int) -> None:
    for seed in range(block * 250, (block + 1) * 250):
        model = (DurableModel if seed % 5 == 0 else GroupModel)(seed, nodes=2 + seed % 4)
        history = shuffled(model.run_and_heal(views=4, steps=50), Random(seed))
        assert check_groups(history, leavers=()) == [], seed
        assert check_groups(history[: len(history) // 2]) == [], seed
        assert check_progress(history, model.view.members) == [], seed
