"""The pytest plugin of Phalanx: the fixture `phalanx_cluster`, and its marker.

pytest imports this module in every run where Phalanx is installed, so it imports nothing else of it until a test asks.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from phalanx.testing import Arranged

MARKER = (
    "phalanx(nodes=3, objects=None, durable=False, real=False, tls=None): what cluster `phalanx_cluster` is, as for "
    "phalanx.testing.cluster"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def phalanx_cluster(request: pytest.FixtureRequest) -> "Arranged":
    """A Phalanx cluster for this test, whose nodes can be killed, paused and cut off.  It begins with its block:

        async with phalanx_cluster as cluster: ...
        with phalanx_cluster as cluster: ...

    `@pytest.mark.phalanx(nodes=5, durable=True)` says what cluster; the closest marker counts.
    """
    from phalanx.errors import ConfigurationError
    from phalanx.testing import cluster

    marker = request.node.get_closest_marker("phalanx")
    args, kwargs = (marker.args, marker.kwargs) if marker is not None else ((), {})
    try:
        return cluster(*args, **kwargs)
    except (TypeError, ConfigurationError) as error:
        pytest.fail(f"@pytest.mark.phalanx: {error}", pytrace=False)
