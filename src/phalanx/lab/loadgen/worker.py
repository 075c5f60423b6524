"""One process that makes load: `python -m phalanx.lab.loadgen.worker PLAN`, where the plan is JSON.

It prints a line of JSON when its clients are connected, begins when a line comes on its standard input, prints how much
is done now and then, and in the end the result.  It ends without one if its input ends first.
"""

import asyncio
import sys

import msgspec

from phalanx.lab.loadgen.load import Load, Plan, Result
from phalanx.runtime.loop import run, tune_gc_for_server


class Line(msgspec.Struct, omit_defaults=True):
    """What a worker says: that it is ready, how much is done, the result, or why there is none."""

    ready: bool = False
    done: int = 0
    result: Result | None = None
    error: str = ""


decode = msgspec.json.Decoder(Line).decode


def _say(line: Line) -> None:
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


async def _work(plan: Plan) -> None:
    load = Load(plan)
    try:
        await load.open()
    except OSError as error:
        _say(Line(error=str(error)))
        return
    tune_gc_for_server()
    _say(Line(ready=True))
    begin = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    if begin:
        _say(Line(result=await load.run(lambda done: _say(Line(done=done)))))


if __name__ == "__main__":
    run(_work(msgspec.json.decode(sys.argv[1], type=Plan)))
