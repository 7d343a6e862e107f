"""Webhooks are removed after their time, by the sweep."""

import pytest

from onboarding_worker.core.database.tables import Webhook
from onboarding_worker.features.privacy.retention import WEBHOOKS_KEPT
from onboarding_worker.web.webhooks.store.webhooks import Arrived, process_webhooks
from tests.features.privacy.engine.test_inbox_retention import let_go


@pytest.mark.parametrize("source", ["account/kyc", "sender/sms"])
async def test_a_webhook_is_known_for_its_time_and_no_longer(make, source):
    world = make()
    one = Arrived(source, ("digest",), "EVENT", {"match": [], "event": "EVENT"} if source == "account/kyc" else None)
    for known in (True, False):
        assert world.parts.webhooks.keep([one], now=world.clock()) == [known]
    process_webhooks(world.parts.webhooks, world.parts.clock, world.parts.meters)
    world.clock.advance(days=WEBHOOKS_KEPT.days - 1)
    for days, left in ((0, 1), (1, 0)):
        world.clock.advance(days=days)
        let_go(world)
        assert len(world.rows(Webhook)) == left
