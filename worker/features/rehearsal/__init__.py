"""Plays a list through the engine, with the sandbox in place of the world: docs/features/rehearsal.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="rehearsal",
    about="Plays a list through weeks in seconds, and sends nothing. Without it nothing else changes.",
    commands={
        "rehearse": Command(
            "onboarding_worker.features.rehearsal.command:rehearse",
            "Lists",
            "Play a list through days in seconds; sends nothing.",
            extra="sandbox",
        )
    },
)
