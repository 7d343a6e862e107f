"""What `doctor` says of fast calls."""

from collections.abc import Iterator

from worker.cli.doctor_checks import FeatureCheck
from worker.domain.model.findings import Finding, ok
from worker.engine.container import Parts
from worker.features.fast_calls.switch import is_on


def check(parts: Parts) -> Iterator[Finding]:
    """Where they are on and unfit, no command starts, and `doctor` says so instead of this."""
    yield ok("fast calls", "on" if is_on(parts.settings) else "off")


CHECK = FeatureCheck(check)
