"""The notice that was written last is shown."""

from onboarding_worker.features.notice.store import notices


def test_the_command_writes_it_and_refuses_one_that_is_too_long(desk):
    assert desk.onboard("notice", "closed on Monday").code == 0
    assert desk.onboard("notice", "x" * 201).code == 2
    assert desk.sql("SELECT text FROM notice") == [("closed on Monday",)]


async def test_the_address_shows_the_newest(site):
    for text in ("open", "closed on Monday"):
        notices.write(site.parts.database, text, now=site.clock())
    async with site.client.get("/notice") as answer:
        assert await answer.json() == {"notice": "closed on Monday"}
