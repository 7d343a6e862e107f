"""Tells when something begins or ends to need a person."""

from worker.core.features import Feature

FEATURE = Feature(
    name="alerts",
    about="Tells by mail or webhook when something begins or ends to need a person. Without it only `status` tells.",
)
