"""Metrics for Prometheus: docs/features/metrics.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="metrics",
    about="Metrics for Prometheus. Without it `status` has the numbers of now.",
    offers={
        "COUNTS": ("onboarding_worker.features.metrics.store.metric_counts:add",),
        "ROUTES": ("onboarding_worker.features.metrics.metrics_page:ROUTES",),
        "SECTIONS": ("onboarding_worker.features.metrics.section:SECTION",),
        "TABLES": ("onboarding_worker.features.metrics.store.metric_counts:TABLES",),
    },
)
