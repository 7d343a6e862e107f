"""Metrics for Prometheus."""

from worker.core.features import Feature

FEATURE = Feature(
    name="metrics",
    about="Metrics for Prometheus. Without it `status` has the numbers of now.",
)
