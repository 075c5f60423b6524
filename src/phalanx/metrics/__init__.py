"""What a process of a cluster measures, for Prometheus and whatever reads its format.

Needs the extra `phalanx[metrics]`; without it this package cannot be imported.  docs/operations.md has the table of what
is measured.
"""

from phalanx.metrics.collector import Metrics

__all__ = ["Metrics"]
