"""`phalanx soak`: a durable store on real processes and files, under faults, for as long as wanted, and then judged."""

import shutil
import tempfile
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from phalanx.api.hosted import Hosted
from phalanx.errors import ConfigurationError
from phalanx.lab.soak.campaign import ROUND_S, Campaign, Settings
from phalanx.lab.soak.campaign import Progress as Reached
from phalanx.lab.soak.faults import FAULTS
from phalanx.runtime.loop import run
from phalanx.services.store.kv import KV
from phalanx.testing.namespaces import Network, network
from phalanx.testing.nodes import Wish
from phalanx.testing.realnodes import RealNodes

NODES = ("a", "b", "c")


def soak(
    minutes: Annotated[
        float | None, typer.Option(help="Of faults. [default: 1, unless --kills is given]", min=0)
    ] = None,
    kills: Annotated[int | None, typer.Option(help="End once so many processes have been killed.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of what clients and faults do; when they do it is up to the machine.")] = 1,
    faults: Annotated[str, typer.Option(help="What may happen to nodes, separated by commas.")] = ",".join(FAULTS),
    directory: Annotated[
        Path | None, typer.Option(help="For data, logs and histories; must be empty. [default: a temporary one]")
    ] = None,
    round_s: Annotated[
        float, typer.Option("--round", help="Seconds of faults between two judgements.", min=1)
    ] = ROUND_S,
    namespaces: Annotated[
        bool,
        typer.Option(
            "--namespaces", help="Each node in a network namespace; cuts lose its frames in silence. Linux, as root."
        ),
    ] = False,
) -> None:
    """Run a durable store on three real processes under kill -9, pauses and cut links, with clients that make random
    use of every operation; after each round, hold everything that they saw against the store's history.

    The last line is "rounds=R kills=K pauses=P cuts=C operations=O lost=L violations=V"; the exit status is 0 only if
    L and V are 0, 2 for bad options, 130 after Ctrl-C. It stops at the first round that goes wrong, and keeps its files.
    """
    kinds = tuple(dict.fromkeys(word for word in faults.split(",") if word))
    if unknown := set(kinds) - set(FAULTS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(FAULTS)}", param_hint="--faults")
    if kills is not None and "kill" not in kinds:
        raise typer.BadParameter("nothing is killed without `kill` in --faults", param_hint="--kills")
    if directory is not None and directory.exists() and not directory.is_dir():
        raise typer.BadParameter(f"{directory} is no directory", param_hint="--directory")
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise typer.BadParameter(f"{directory} is not empty", param_hint="--directory")
    if minutes is None and kills is None:
        minutes = 1.0
    settings = Settings(None if minutes is None else minutes * 60, kills, seed, kinds, round_s)
    place = directory if directory is not None else Path(tempfile.mkdtemp(prefix="phalanx-soak-"))
    reached = Reached()
    try:
        with network(NODES) if namespaces else nullcontext() as cables:
            run(_soak(settings, place, reached, cables))
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--namespaces") from error
    except KeyboardInterrupt:
        typer.echo(f"interrupted; the nodes are ended\n{reached}")
        raise typer.Exit(130) from None
    finally:
        if directory is None and (reached.rounds and not reached.lost and not reached.violations):
            shutil.rmtree(place)
        else:
            typer.echo(f"data, logs and history are in {place}")
    typer.echo(str(reached))
    raise typer.Exit(0 if reached.lost == reached.violations == 0 else 1)


async def _soak(settings: Settings, directory: Path, reached: Reached, cables: Network | None) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    nodes = RealNodes(Wish(NODES, {"KV": Hosted(KV, durable=True)}, True, directory), cables)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    async with AsyncExitStack() as stack:
        await nodes.run(stack)
        await nodes.wait_until_full()
        bar = stack.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        task = bar.add_task("soaking", total=1.0)

        def advance() -> None:
            bar.update(task, completed=_share(settings, reached), description=str(reached))

        await Campaign(nodes, settings, directory, typer.echo, reached, advance).run()


def _share(settings: Settings, reached: Reached) -> float:
    """How much is done."""
    shares = [0.0]
    if settings.seconds:
        shares.append(reached.faulted_s / settings.seconds)
    if settings.kills:
        shares.append(reached.counts.kills / settings.kills)
    return max(shares)
