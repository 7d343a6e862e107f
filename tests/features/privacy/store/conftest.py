"""The store's fixtures."""

from tests.core.rows.test_pending_details import given

__all__ = ["given"]
