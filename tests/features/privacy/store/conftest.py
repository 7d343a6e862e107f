"""The store's fixtures."""

from tests.core.customers.store.test_pending_details import given

__all__ = ["given"]
