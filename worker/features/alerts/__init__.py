"""Tells when something begins or ends to need a person: docs/features/alerts.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="alerts",
    about="Tells by mail or webhook when something begins or ends to need a person. Without it only `status` tells.",
    offers={
        "SECTIONS": ("worker.features.alerts.section:SECTION",),
        "TABLES": ("worker.features.alerts.store.alerts:TABLES",),
        "TELLERS": ("worker.features.alerts.alerting:telling",),
    },
)
