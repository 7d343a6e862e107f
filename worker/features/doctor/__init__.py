"""Checks the configuration and all that it names: docs/features/doctor.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="doctor",
    about="Checks the configuration and all it names. Without it mistakes show at the start, or at the first call.",
    commands={
        "doctor": Command(
            "onboarding_worker.features.doctor.command:doctor", "Set-up", "Check the configuration and all it names."
        )
    },
)
