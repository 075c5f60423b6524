"""What the tests of the experiments share: each short form is run once, and which test breaks which claim is noted."""

import functools
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import ParamSpec

from phalanx.lab.experiments import EXPERIMENTS, Claim, Result

Arguments = ParamSpec("Arguments")

BREAKS: dict[str, dict[str, dict[str, None]]] = {}
"""By experiment and pattern of the texts of its claims: the tests that see such a claim fail, each once, in order."""

_seen: set[str] = set()
"""The claims that did not hold in the test that runs."""


@functools.cache
def short(name: str) -> Result:
    """The short form, of the code as it is: tests that break a protocol run the experiment themselves."""
    return EXPERIMENTS[name].run(False)


def failing(found: Result | Iterable[Claim]) -> list[str]:
    """The claims that do not hold."""
    claims = found.claims if isinstance(found, Result) else found
    texts = [claim.text for claim in claims if not claim.holds]
    _seen.update(texts)
    return texts


def breaks(experiment: str, *patterns: str) -> Callable[[Callable[Arguments, None]], Callable[Arguments, None]]:
    """The test takes a rule out of what the experiment runs, and sees a claim of each of these patterns fail; a pattern
    has `*` where claims differ by a number or the like.  Else the test fails."""

    def decorate(test: Callable[Arguments, None]) -> Callable[Arguments, None]:
        name = getattr(test, "__name__", "").removeprefix("test_").replace("_", " ")
        for pattern in patterns:
            BREAKS.setdefault(experiment, {}).setdefault(pattern, {})[name] = None

        @functools.wraps(test)
        def watched(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            _seen.clear()
            test(*args, **kwargs)
            kept = [pattern for pattern in patterns if not any(fnmatchcase(text, pattern) for text in _seen)]
            assert not kept, f"these claims were not seen to fail: {kept}"

        return watched

    return decorate
