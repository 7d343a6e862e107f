"""What `onboard doctor` says of the audit log."""

from collections.abc import Iterator

from worker.cli.feature_checks import FeatureCheck
from worker.core.model.findings import Finding, failure, ok
from worker.features.audit.store.reading import AuditLog
from worker.wiring.container import Parts

AUDIT_ENTRIES = 1000


def check(parts: Parts) -> Iterator[Finding]:
    """The end of the audit log's chain. `onboard audit verify` reads all of it."""
    found = AuditLog(parts.database, parts.keyring).verify_end(AUDIT_ENTRIES)
    for problem in found.problems:
        yield failure("audit log", problem, "`onboard audit verify`, then docs/features/audit.md")
    if found.is_whole and not found.end.number:
        yield ok("audit log", "no entry is sealed yet")
    elif found.is_whole:
        entries = "entry fits" if found.entries == 1 else f"{found.entries:,} entries fit"
        yield ok("audit log", f"its head is signed, and its last {entries}")


CHECK = FeatureCheck(check, of_database=True)
