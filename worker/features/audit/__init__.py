"""Reads, seals and exports the audit log: docs/features/audit.md."""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="audit",
    about="Reads, checks, seals and exports the audit log. Without it entries are written, and only SQL reads them.",
    offers={
        "AFTER_COMMANDS": ("onboarding_worker.features.audit.sealing:seal_after_command",),
        "DOCTOR_CHECKS": ("onboarding_worker.features.audit.sealing:CHECK",),
        "STANDINGS": ("onboarding_worker.features.audit.sealing:STANDINGS",),
        "SWEEP_STEPS": ("onboarding_worker.features.audit.sealing:swept",),
    },
    commands={
        "audit": Command(
            "onboarding_worker.features.audit.command:audit", "Month end", "Show who did what, and check the log."
        )
    },
)
