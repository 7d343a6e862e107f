"""The button of a row that sends its message to an address that the person types, as a test."""

from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_worker.core.database.tables import Audit, Base, Job
from onboarding_worker.features.dashboard.pages import batch_actions
from tests.features.dashboard.conftest import audited, rows
from tests.features.dashboard.test_actions import OPERATOR, batch, shelf

__all__ = ["batch", "shelf"]
ME = "me@example.org"


@asynccontextmanager
async def mail_server(site):
    sandbox = Sandbox(SandboxOptions())
    await sandbox.start()
    settings = site.parts.settings
    email = settings.email.model_copy(update={"url": f"smtp://127.0.0.1:{sandbox.smtp_port}"})
    object.__setattr__(settings, "email", email)
    try:
        yield sandbox.mailbox
    finally:
        await sandbox.stop()


def stored(site) -> dict[str, list]:
    tables = [table for name, table in Base.metadata.tables.items() if not name.startswith(Audit.__tablename__)]
    with site.parts.database.read() as connection:
        return {table.name: [tuple(row) for row in connection.execute(sa.select(table))] for table in tables}


async def test_a_rows_test_goes_to_the_typed_address_and_only_the_audit_log_has_it(site, ona, batch):
    row = rows(site, Job.row)[0][0]
    path = f"/dashboard/do/test-message?batch={batch}&row={row}"
    async with mail_server(site) as mailbox:
        asked = await ona.get(path)
        assert path.partition("?")[0] in " ".join((await ona.get(f"/dashboard/batches/{batch}")).links)
        before = stored(site)

        done = await ona.do(path, reason="how it looks", to=ME)

        assert (done.status, done.path) == (200, f"/dashboard/batches/{batch}")
        assert stored(site) == before
        (mail,) = [mail.facts() for mail in mailbox]
    assert "its link leads nowhere" in asked.words
    assert (mail["to"], mail["headers"]["X-Onboard-Test"]) == ([ME], "yes")
    assert mail["subject"].startswith("[TEST] ")
    assert audited(site)[-1] == (OPERATOR, "template send", f"batch {batch} row {row}", "by email; how it looks")
    assert ME not in str(audited(site))


@pytest.mark.parametrize("typed", ["", "me@", "a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com"])
async def test_an_address_that_is_none_sends_nothing(site, ona, batch, typed):
    row = rows(site, Job.row)[0][0]
    async with mail_server(site) as mailbox:
        done = await ona.do(f"/dashboard/do/test-message?batch={batch}&row={row}", to=typed)

        assert "No test was sent" in done.words
        assert not list(mailbox)
    assert "template send" not in str(audited(site))


async def test_a_row_that_was_rejected_or_is_not_there_has_no_test(ona, batch):
    assert (await ona.get(f"/dashboard/do/test-message?batch={batch}&row=99")).status == 409
    assert (await ona.get(f"/dashboard/do/test-message?batch={batch}&row=x")).status == 404


async def test_so_many_tests_may_be_sent_in_an_hour_and_only_by_operators(site, ona, enter, batch, monkeypatch):
    monkeypatch.setattr(batch_actions, "MOST_TESTS", 1)
    row = rows(site, Job.row)[0][0]
    path = f"/dashboard/do/test-message?batch={batch}&row={row}"
    async with mail_server(site) as mailbox:
        await ona.do(path, to=ME)
        refused = await ona.do(path, to=ME)

        assert "the most" in refused.words
        assert len(list(mailbox)) == 1
    for name in ("vita", "desk"):
        person = await enter(name)
        assert (await person.get(path)).status == 409
