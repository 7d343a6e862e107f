"""What `doctor` says of fast calls."""

from collections.abc import Iterator

from worker.cli.feature_checks import FeatureCheck
from worker.core.model.findings import Finding, ok
from worker.features.fast_calls.switch import is_on
from worker.wiring.container import Parts


def check(parts: Parts) -> Iterator[Finding]:
    """Where they are on and unfit, no command starts, and `doctor` says so instead of this."""
    yield ok("fast calls", "on" if is_on(parts.settings) else "off")


CHECK = FeatureCheck(check)
