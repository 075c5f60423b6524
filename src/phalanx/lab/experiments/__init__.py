"""The laboratory's experiments: short programs that execute a protocol and hold what happens against its source.

Each module states its question, its method, its source and what is expected, and has a function `run` that returns a
`Result`.  `phalanx lab run NAME` prints it, draws its figures, and succeeds only if all its claims hold.
"""

from types import ModuleType

from phalanx.lab.experiments import (
    byzantine_generals,
    client_crashes,
    distributed_snapshot,
    failure_classes,
    failure_detectors,
    failure_masking,
    flp,
    group_calls,
    group_consensus,
    heisenbugs,
    message_orders,
    reliable_multicast,
    rpc_semantics,
    split_brain,
    state_transfer,
    two_armies,
    virtual_synchrony,
    weak_detectors,
)
from phalanx.lab.experiments.result import Claim, Experiment, Result, Story, Table

__all__ = ["EXPERIMENTS", "Claim", "Experiment", "Result", "Story", "Table"]


def _experiment(module: ModuleType) -> Experiment:
    title, _, text = (module.__doc__ or "").partition("\n")
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    return Experiment(name, title.rstrip("."), text.strip(), module.run)


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in map(
        _experiment,
        (
            failure_classes,
            failure_masking,
            rpc_semantics,
            client_crashes,
            two_armies,
            byzantine_generals,
            flp,
            weak_detectors,
            reliable_multicast,
            message_orders,
            virtual_synchrony,
            state_transfer,
            distributed_snapshot,
            group_consensus,
            split_brain,
            group_calls,
            heisenbugs,
            failure_detectors,
        ),
    )
}
"""All of them, by name."""
