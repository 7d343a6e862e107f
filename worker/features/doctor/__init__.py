"""Checks the configuration and all that it names: docs/features/doctor.md."""

from worker.core.features import Command, Feature

FEATURE = Feature(
    name="doctor",
    about="Checks the configuration and all it names. Without it mistakes show at the start, or at the first call.",
    commands={
        "doctor": Command(
            "worker.features.doctor.command:doctor", "Set-up", "Check the configuration and all it names."
        )
    },
)
