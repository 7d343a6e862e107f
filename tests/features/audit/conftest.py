"""The fixtures of tests of the store that the tests of the audit log need."""

from tests.core.conftest import in_parallel

__all__ = ["in_parallel"]
