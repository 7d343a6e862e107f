"""Reads, seals and exports the audit log."""

from worker.core.features import Command, Feature

FEATURE = Feature(
    name="audit",
    about="Reads, checks, seals and exports the audit log. Without it entries are written, and only SQL reads them.",
    offers={"DOCTOR_CHECKS": ("worker.features.audit.doctor:CHECK",)},
    commands={
        "audit": Command("worker.features.audit.command:audit", "Show who did what, and check the log."),
    },
)
