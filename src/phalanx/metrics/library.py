"""prometheus-client, which not everybody installs: whoever imports it here is told what to do."""

try:
    from prometheus_client import CollectorRegistry, GCCollector, Metric, PlatformCollector, ProcessCollector
    from prometheus_client.exposition import generate_latest as plain_text
    from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(f"metrics need prometheus-client ({error}): pip install 'phalanx[metrics]'") from error

__all__ = [
    "Collector",
    "CollectorRegistry",
    "GCCollector",
    "Metric",
    "PlatformCollector",
    "ProcessCollector",
    "openmetrics_text",
    "plain_text",
]
