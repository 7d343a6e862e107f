"""Gives each mail a return path of its own, and reads what comes back: docs/features/bounces.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="bounces",
    about="Reads mails that came back from a mailbox. Without it only a refused hand-over tells of a wrong address.",
    offers={
        "SECTIONS": ("onboarding_worker.features.bounces.section:SECTION",),
        "WAYS_BACK": ("onboarding_worker.features.bounces.return_path:WAY_BACK",),
        "WORK": ("onboarding_worker.features.bounces.reader:WORK",),
    },
    commands={
        "events bounces": Command(
            "onboarding_worker.features.bounces.command:bounces", "Events", "Read mails that came back."
        )
    },
)
