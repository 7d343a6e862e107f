"""What a scrape reads from the database."""

from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.database.tables import Webhook
from onboarding_worker.features.metrics.gauges import WEBHOOKS_TO_CHECK
from onboarding_worker.features.metrics.store import gauges
from onboarding_worker.settings.policies import BudgetRules
from tests.conftest import NOON


def test_a_scrape_that_takes_too_long_says_so_and_blames_no_setting_of_the_server(empty_postgresql_url, monkeypatch):
    monkeypatch.setattr(gauges, "MOST_TIME", timedelta(seconds=1))
    database, other = Database(empty_postgresql_url), Database(empty_postgresql_url)
    with closing(database), closing(other), other.write() as connection:
        connection.execute(sa.text("LOCK TABLE outbox"))
        with pytest.raises(sa.exc.OperationalError) as caught:
            gauges.read(database, BudgetRules({}, {}), ["bus"], now=NOON)
    assert reason(caught.value) == "reading them takes longer than 1 s"


def test_webhooks_that_a_person_is_to_check_are_counted(database: Database):
    alert = {"id": uuid4(), "source": "account/kyc", "digest": "1", "event": "", "received_at": NOON, "state": "alert"}
    with database.write() as connection:
        connection.execute(sa.insert(Webhook).values(**alert, attempts=1, detail=""))
    values, _ = gauges.read(database, BudgetRules({}, {}), [], now=NOON)
    assert values[WEBHOOKS_TO_CHECK] == {(): 1.0}
