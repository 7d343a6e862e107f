"""Traces for OpenTelemetry."""

from worker.core.features import Feature

FEATURE = Feature(
    name="traces",
    about="Traces for OpenTelemetry. Without it nothing else changes.",
)
