"""Asks approved customers again after months: docs/features/renew.md."""

from worker.core.features import Feature

FEATURE = Feature(
    name="renew",
    about="Asks approved customers again after months. Without it that takes a list each time.",
    offers={
        "SECTIONS": ("worker.features.renew.section:SECTION",),
        "TABLES": ("worker.features.renew.store.renewals:TABLES",),
        "OBSERVERS": ("worker.features.renew.store.renewals:observing",),
        "SWEEP_STEPS": ("worker.features.renew.store.asking:swept",),
        "STANDINGS": ("worker.features.renew.standing:STANDINGS",),
    },
)
