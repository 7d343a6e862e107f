"""What an uploaded list may say to the provider: what `[rights] uploads` gives it, and who approves is shown it."""

from onboarding_worker.core.database.tables import Job
from tests.features.dashboard.conftest import USERS, rows
from tests.features.uploads.conftest import give

SETS = b"customer_id,email,country,idenfy-kyc.checkAml\nC-1,ona@example.com,LT,false\nC-2,jonas@example.com,LT,\n"


async def test_what_rows_set_is_rejected_without_the_right_of_uploads_and_shown_to_who_approves_with_it(
    open_site, enter, look
):
    async def opened(rights):
        site = await open_site(keys=f'{USERS}[rights]\n{rights} = ["idenfy-kyc.checkAml"]\n')
        accounts = site.parts.settings.accounts
        accounts["kyc"] = accounts["kyc"].model_copy(update={"per_row": ("checkAml",)})
        return site

    site = await opened("lists")
    ona = await enter("ona", site)
    await give(ona, SETS)
    look(site)
    page = await ona.get("/dashboard/lists/1")
    assert "rejected 1" in page.words
    assert "rights.uploads" in page.words

    allowed = await opened("uploads")
    ona = await enter("ona", allowed)
    await give(ona, SETS + b"C-3,rasa@example.com,LT,\n", name="second.csv")
    look(allowed)
    page = await ona.get("/dashboard/lists/2")
    assert "rows set what needs a right: idenfy-kyc.checkAml 1" in page.words
    (link,) = [one for one in page.links if "/do/approve-list?" in one]
    await ona.do(link, reason="asked by the branch")
    look(allowed)
    assert dict(rows(allowed, Job.customer_id, Job.sets)) == {"C-1": "idenfy-kyc.checkAml", "C-2": "", "C-3": ""}
    assert "rows that set idenfy-kyc.checkAml 1" in (await ona.get("/dashboard/batches/1")).words
