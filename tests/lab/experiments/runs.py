"""What the tests of the experiments share: each short form is run once."""

import functools

from phalanx.lab.experiments import EXPERIMENTS, Result


@functools.cache
def short(name: str) -> Result:
    """The short form, of the code as it is: tests that break a protocol run the experiment themselves."""
    return EXPERIMENTS[name].run(False)


def failing(result: Result) -> list[str]:
    """The claims that do not hold."""
    return [claim.text for claim in result.claims if not claim.holds]
