"""Webhooks are removed after their time, by the sweep."""

import pytest

from worker.engine.maintenance.retention import WEBHOOKS_KEPT
from worker.engine.maintenance.sweep import process_webhooks
from worker.store.tables import Webhook
from worker.store.webhooks.webhooks import Arrived


@pytest.mark.parametrize("source", ["account/kyc", "sender/sms"])
async def test_a_webhook_is_known_for_its_time_and_no_longer(make_on_both, source):
    world = make_on_both()
    one = Arrived(source, ("digest",), "EVENT", {"match": [], "event": "EVENT"} if source == "account/kyc" else None)
    for known in (True, False):
        assert world.parts.webhooks.keep([one], now=world.clock()).receipts == [known]
    process_webhooks(world.parts.webhooks, world.parts.clock, world.parts.meters)
    world.clock.advance(days=WEBHOOKS_KEPT.days - 1)
    for days, left in ((0, 1), (1, 0)):
        world.clock.advance(days=days)
        retention = world.parts.retention()
        for _ in range(10):
            retention.step()
        assert len(world.rows(Webhook)) == left
