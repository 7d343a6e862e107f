"""Publishes what happened, as events."""

from worker.core.features import Command, Feature

FEATURE = Feature(
    name="outbox",
    about="Publishes what happened, as events of ours. Without it other systems have to ask.",
    offers={
        "OBSERVERS": ("worker.features.outbox.outbox_targets:OBSERVER",),
        "SECTIONS": ("worker.features.outbox.section:SECTION",),
        "STANDINGS": ("worker.features.outbox.outbox_report:STANDINGS",),
        "WORK": ("worker.features.outbox.background:WORK",),
    },
    commands={
        "outbox": Command("worker.features.outbox.command:outbox", "Show outgoing events not yet published."),
    },
)
