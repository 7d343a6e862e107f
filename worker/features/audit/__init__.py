"""Reads, seals and exports the audit log: docs/features/audit.md."""

from worker.core.features import Command, Feature

FEATURE = Feature(
    name="audit",
    about="Reads, checks, seals and exports the audit log. Without it entries are written, and only SQL reads them.",
    offers={
        "AFTER_COMMANDS": ("worker.features.audit.sealing:seal_after_command",),
        "DOCTOR_CHECKS": ("worker.features.audit.sealing:CHECK",),
        "STANDINGS": ("worker.features.audit.sealing:STANDINGS",),
        "SWEEP_STEPS": ("worker.features.audit.sealing:swept",),
    },
    commands={
        "audit": Command("worker.features.audit.command:audit", "Month end", "Show who did what, and check the log.")
    },
)
