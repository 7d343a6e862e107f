"""Without this folder nothing starts while links that were sent lead somewhere."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.tables import StableLink
from onboarding_worker.core.foundation.clock import system_clock
from onboarding_worker.core.foundation.features import FEATURES
from tests.stored.own_link import secret_of_link


@pytest.mark.both_databases
def test_no_process_starts_without_the_feature_before_the_last_link_has_ended(ona, keyring, monkeypatch):
    monkeypatch.setattr(FEATURES, "here", {name: one for name, one in FEATURES.here.items() if name != "stable_links"})
    assert schema.why_not_ready(ona.database) is None

    secret_of_link(ona, keyring)
    now = system_clock()  # the database asks its own clock
    ona.set(StableLink, ends_at=now + timedelta(hours=1))
    assert schema.why_not_ready(ona.database) == (
        "stable_links: this feature is not installed, and links that were sent lead customers to their sessions:"
        " install it again"
    )
    ona.set(StableLink, ends_at=now - timedelta(seconds=1))
    assert schema.why_not_ready(ona.database) is None
