"""Asks approved customers again after months: docs/features/renew.md."""

from onboarding_worker.core.foundation.features import Feature

FEATURE = Feature(
    name="renew",
    about="Asks approved customers again after months. Without it that takes a list each time.",
    offers={
        "SECTIONS": ("onboarding_worker.features.renew.section:SECTION",),
        "TABLES": ("onboarding_worker.features.renew.store.renewals:TABLES",),
        "OBSERVERS": ("onboarding_worker.features.renew.store.renewals:observing",),
        "SWEEP_STEPS": ("onboarding_worker.features.renew.store.asking:swept",),
        "STANDINGS": ("onboarding_worker.features.renew.standing:STANDINGS",),
    },
)
