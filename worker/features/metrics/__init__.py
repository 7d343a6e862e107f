"""Metrics for Prometheus: docs/features/metrics.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="metrics",
    about="Metrics for Prometheus. Without it `status` has the numbers of now.",
    offers={
        "COUNTS": ("worker.features.metrics.store.metric_counts:add",),
        "ROUTES": ("worker.features.metrics.metrics_page:ROUTES",),
        "SECTIONS": ("worker.features.metrics.section:SECTION",),
        "TABLES": ("worker.features.metrics.store.metric_counts:TABLES",),
    },
)
