"""Publishes what happened, as events."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="outbox",
    about="Publishes what happened, as events of ours. Without it other systems have to ask.",
    offers={
        "OBSERVERS": ("onboarding_worker.features.outbox.outbox_targets:observing",),
        "SECTIONS": ("onboarding_worker.features.outbox.section:SECTION",),
        "STANDINGS": ("onboarding_worker.features.outbox.outbox_targets:STANDINGS",),
        "SWEEP_STEPS": ("onboarding_worker.features.outbox.outbox_publisher:swept",),
        "WORK": ("onboarding_worker.features.outbox.outbox_publisher:WORK",),
    },
    commands={
        "events outgoing": Command(
            "onboarding_worker.features.outbox.command:outgoing", "Events", "Show outgoing events not yet published."
        )
    },
    serves=(
        "events that have happened wait to be published",
        "SELECT 1 FROM outbox WHERE due_at IS NOT NULL AND occurred_at <= CURRENT_TIMESTAMP",
    ),
)
