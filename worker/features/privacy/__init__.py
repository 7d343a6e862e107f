"""Erases, retains, and gives out what is stored of a customer: docs/features/privacy.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="privacy",
    about="Erases, retains, and gives out what is stored of a customer. Without it that is work by hand.",
    needs=("audit",),
    offers={"SWEEP_STEPS": ("onboarding_worker.features.privacy.retention:swept",)},
    commands={
        "archive": Command(
            "onboarding_worker.features.privacy.command:archive",
            "Month end",
            "Save a batch as a file, and remove it if you wish.",
        )
    },
)
