"""The dashboard of tests/features/dashboard."""

from tests.features.dashboard.conftest import each_request_reads, open_site, site, visit, waits

__all__ = ["each_request_reads", "open_site", "site", "visit", "waits"]
