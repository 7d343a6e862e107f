"""Tells when something begins or ends to need a person: docs/features/alerts.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="alerts",
    about="Tells by mail or webhook when something begins or ends to need a person. Without it only `status` tells.",
    offers={
        "SECTIONS": ("onboarding_worker.features.alerts.section:SECTION",),
        "TABLES": ("onboarding_worker.features.alerts.store.alerts:TABLES",),
        "TELLERS": ("onboarding_worker.features.alerts.alerting:telling",),
    },
)
