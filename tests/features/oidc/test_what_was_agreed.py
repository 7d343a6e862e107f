"""What a person has agreed to whom an identity provider named: it counts as long as a log-in of that time could."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import UploadedList
from onboarding_worker.features.uploads.schedule import Looking
from tests.features.dashboard.conftest import rows
from tests.features.oidc.issuer import FakeIssuer
from tests.features.oidc.test_oidc import log_in
from tests.features.uploads.conftest import GOOD, do, give

RITA = "oidc:rita (operator), dashboard"


@pytest.mark.parametrize(
    ("groups", "hours", "counts"), [(["kyc-operators"], 1, True), (["kyc-operators"], 13, False), (["staff"], 1, False)]
)
async def test_an_agreement_counts_for_twelve_hours_or_until_the_issuer_says_less(
    open_site, visit, clock, groups, hours, counts
):
    async with FakeIssuer(clock) as issuer:
        site = await open_site(users=None, keys=f"{issuer.settings()}[uploads]\napprovals = 2\n")
        looking = Looking(site.parts, owner="worker-1", lease=timedelta(seconds=30))
        rita = visit(site)
        await log_in(rita, issuer)
        await give(rita, GOOD)
        looking.look()
        await do(rita, "approve-list")
        issuer.claims["groups"] = groups
        clock.advance(hours=hours)
        if hours == 1:  # in another browser
            await log_in(visit(site), issuer)

        looking.look()

        assert rows(site, UploadedList.agreed) == [([RITA] if counts else [],)]
