"""GET /metrics: who may scrape it, and what it shows."""

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from onboarding_worker.core.model import metrics
from onboarding_worker.features.metrics import metrics_page
from onboarding_worker.features.metrics.metrics_page import PREFIX
from onboarding_worker.settings.outside import hash_of
from tests.web.site import FIRST, THIRD, Site, renamed

SCRAPED = f"""
[metrics]
keys = ["{hash_of(THIRD)}", {{ env = "FIRST" }}]
"""


async def scrape(site: Site, key: str | None = THIRD, **headers: str) -> tuple[int, str]:
    given = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with site.client.get("/metrics", headers=given | headers) as answer:
        return answer.status, await answer.text()


async def page(site: Site) -> dict[tuple[str, ...], float]:
    """By name and label values."""
    status, text = await scrape(site)
    assert status == 200
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_without_a_key_in_the_configuration_there_is_no_page(site):
    for key in (None, FIRST, ""):
        status, text = await scrape(site, key)
        assert status == 404
        assert PREFIX not in text


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("", 401), ("x" * 40, 401), (hash_of(THIRD), 401), (THIRD, 200), (FIRST, 200)]
)
async def test_only_a_key_of_metrics_opens_it(start, sqlite_url, key: str | None, status: int):
    site = await start(sqlite_url, keys=SCRAPED)
    found, text = await scrape(site, key)
    assert found == status
    assert (PREFIX in text) == (status == 200)


async def test_a_key_of_a_sender_of_events_is_none_of_metrics(start, sqlite_url):
    site = await start(sqlite_url, keys='[web.senders.signup]\nkeys = [{ env = "FIRST" }]\n' + SCRAPED[:-20] + "]")
    assert (await scrape(site, FIRST))[0] == 401


@pytest.mark.both_databases
async def test_it_shows_what_is_in_the_database_and_what_processes_have_counted(start, url):
    site = await start(url, keys=SCRAPED)
    site.look_at_the_database()
    meters = site.parts.meters
    meters.add(metrics.CALLS, "kyc", "done", amount=2)
    meters.add(metrics.CALLS, "gone", "done")
    meters.observer(metrics.CALL_SECONDS, "kyc")(0.2)
    meters.observer(metrics.CALL_SECONDS, "kyc")(99.0)
    site.parts.store_counts()
    meters.add(metrics.CALLS, "kyc", "done")
    site.parts.store_counts()

    found = await page(site)

    assert found["calls_total", "kyc", "done"] == 3
    assert ("calls_total", "gone", "done") not in found  # not in the configuration
    assert found["call_seconds_bucket", "kyc", "0.1"] == 0
    assert found["call_seconds_bucket", "kyc", "0.25"] == 1
    assert found["call_seconds_bucket", "kyc", "+Inf"] == found["call_seconds_count", "kyc"] == 2
    assert found["call_seconds_sum", "kyc"] == pytest.approx(99.2)
    assert found["database_up",] == 1
    assert found["stopped", "kyc"] == 0
    assert found["rate_limit_per_second", "sms"] == 1
    assert found["oldest_due_seconds", "kyc", "issue"] == 0


async def test_a_second_scrape_within_a_second_asks_the_database_nothing(start, sqlite_url, monkeypatch):
    site = await start(sqlite_url, keys=SCRAPED)
    statements: list[str] = []
    sa.event.listen(site.parts.database.engine, "before_cursor_execute", lambda _c, _u, sql, *_: statements.append(sql))
    monkeypatch.setattr(metrics_page, "KEPT_SECONDS", 3600.0)
    first = await page(site)
    asked = [sql for sql in statements if "metric_count" in sql]
    assert await page(site) == first
    assert len(asked) == 1
    assert [sql for sql in statements if "metric_count" in sql] == asked


async def test_without_a_database_it_says_so_and_shows_nothing_else(start, sqlite_url):
    site = await start(sqlite_url, keys=SCRAPED)
    with renamed(site.parts.database, "metric_count", "value"):
        assert await page(site) == {("database_up",): 0}


async def test_no_text_of_a_request_becomes_a_label(start, sqlite_url):
    site = await start(sqlite_url, keys=SCRAPED)
    for path in ("/nowhere/ona@example.com", "/webhooks/ona@example.com", "/events/ona@example.com"):
        async with site.client.get(path):
            pass
    async with site.client.post("/webhooks/ona@example.com", data=b"x"):
        pass
    site.parts.store_counts()
    _, text = await scrape(site)
    assert "example.com" not in text
    assert 'onboarding_http_answers_total{route="-",status="404"} 1.0' in text
    assert 'onboarding_http_answers_total{route="/webhooks/{account}",status="404"} 1.0' in text


async def test_openmetrics_is_written_for_who_asks_for_it(start, sqlite_url):
    site = await start(sqlite_url, keys=SCRAPED)
    _, text = await scrape(site, Accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
@pytest.mark.parametrize("version", ["x.y", "1.0.0-rc", "9" * 5000, "9.0.0", ""])
async def test_any_version_that_is_asked_for_is_answered(start, sqlite_url, kind: str, version: str):
    site = await start(sqlite_url, keys=SCRAPED)
    status, text = await scrape(site, Accept=f"{kind}; version={version}; escaping=x")
    assert (status, PREFIX in text) == (200, True)
