"""Traces for OpenTelemetry: docs/features/traces.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="traces",
    about="Traces for OpenTelemetry. Without it nothing else changes.",
    offers={"TRACES": ("onboarding_worker.features.traces.exporting:TRACES",)},
)
