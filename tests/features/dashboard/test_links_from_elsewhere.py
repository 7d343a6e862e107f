"""A link of another site, of a mail or of the log-in: nothing is written in the name of who follows it."""

import pytest

from onboarding_worker.features.dashboard.contract import Asked, Refused, Sources
from onboarding_worker.features.dashboard.users import Person, Role
from onboarding_worker.features.dashboard.visits import ENTERED
from tests.features.dashboard.conftest import audited
from tests.features.dashboard.visitor import FROM_HERE
from tests.stored.shelf import Shelf, customer

# Each address whose answer has an entry in the audit log; the feature `uploads` has another one, under its lists.
NOTED = ("/dashboard/customers/Ona/contact", "/dashboard/customers/Ona/messages", "/dashboard/batches/1/report.csv")


@pytest.fixture
def before(site, clock):
    """The entries of a batch with a customer, before anybody looks."""
    shelf = Shelf(site.parts.database, site.parts.keyring, clock)
    shelf.add(customer("Ona"))
    return audited(site)


def test_nothing_is_done_in_a_persons_name_who_was_led_there(site):
    asked = Asked({}, Person("ona", Role.OPERATOR), site.clock(), led_here="/dashboard/customers/Ona/contact")

    with pytest.raises(Refused) as refused:
        Sources(site.parts).acting(asked, "customer show", "")

    assert (refused.value.back, refused.value.button) == (asked.led_here, "Go on")


@pytest.mark.parametrize("path", NOTED)
async def test_a_link_from_elsewhere_asks_first_and_leaves_no_entry(site, desk, before, path):
    for site_of_link in ("cross-site", "same-site", "none", "nonsense", ""):
        asked = await desk.get(path, Sec_Fetch_Site=site_of_link)
        assert (asked.status, asked.title) == (409, "Not yet")
        assert path in asked.links
        assert "ona@example.org" not in asked.text
    assert audited(site) == before

    assert (await desk.get(path, **{"Sec-Fetch-Site": FROM_HERE["Sec-Fetch-Site"]})).status == 200
    assert len(audited(site)) == len(before) + 1


@pytest.mark.parametrize("headers", [{}, FROM_HERE, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_link_searches_for_no_customer(site, desk, before, headers):
    page = await desk.get("/dashboard/customers?q=ona@example.org", **headers)

    assert (page.status, page.path.partition("?")[0]) == (200, "/dashboard/customers")
    assert audited(site) == before


@pytest.mark.parametrize("path", NOTED)
async def test_a_log_in_leads_to_what_its_link_names_and_asks_there(site, visit, before, path):
    desk = visit()

    asked = await desk.log_in("desk", to=path)

    assert (asked.status, asked.title, audited(site)) == (409, "Not yet", before)
    assert path in asked.links
    assert (await desk.get(path)).status == 200


async def test_who_has_logged_in_and_seen_a_page_is_not_asked(site, desk, before):
    assert not any(cookie.key.endswith(ENTERED) for cookie in desk.client.session.cookie_jar)
    assert (await desk.get(NOTED[0])).status == 200


async def test_other_pages_open_by_a_link_from_elsewhere(desk, before):
    for path in ("/", "/dashboard/batches/1", "/dashboard/customers/Ona", "/dashboard/audit"):
        assert (await desk.get(path, Sec_Fetch_Site="cross-site")).status == 200
