"""Traces for OpenTelemetry: docs/features/traces.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="traces",
    about="Traces for OpenTelemetry. Without it nothing else changes.",
    offers={"TRACES": ("worker.features.traces.exporting:TRACES",)},
)
