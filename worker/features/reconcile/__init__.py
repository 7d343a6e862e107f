"""Compares a batch with the books of providers and senders: docs/features/reconcile.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="reconcile",
    about="Compares a batch with the provider's bill and the sender's log. Without it nothing else changes.",
    commands={
        "reconcile": Command(
            "onboarding_worker.features.reconcile.command:reconcile",
            "Month end",
            "Compare a batch with the providers' and senders' own lists.",
        )
    },
)
