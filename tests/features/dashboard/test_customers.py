"""The pages of one batch and of customers: what they show to whom, and what the service desk does with them."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.customers import Channel, Customer, Person
from onboarding_worker.features.dashboard.pages.batch import chart
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.templates.checks import SAMPLE, SAMPLE_NOW
from tests.conftest import NOON
from tests.features.dashboard.conftest import audited
from tests.stored.erased import erased
from tests.stored.shelf import Shelf, customer
from tests.web.site import Site


@pytest.fixture
def shelf(site, clock) -> Shelf:
    """Ona and Jonas were invited half an hour ago; a third row is held."""
    shelf = Shelf(site.parts.database, site.parts.keyring, clock)
    shelf.add(customer("Ona"), customer("Jonas/1"))
    shelf.issue()
    shelf.send()
    shelf.add(customer("Held"), batch=1, first_row=4)
    shelf.set(Job, Job.row == 4, state="held", reason="unknown", due_at=None)
    clock.advance(minutes=30)
    return shelf


async def test_a_customer_is_found_by_an_address_that_stands_in_no_url(shelf, desk):
    page = await desk.get("/dashboard/customers")
    found = await desk.post("/dashboard/customers", page.form | {"q": "ONA@example.org"})
    assert found.path == "/dashboard/customers/Ona"
    assert "o…@example.org" in found.words
    several = await desk.post("/dashboard/customers", page.form | {"q": "8 600 00001"})
    assert several.path == "/dashboard/customers"
    assert {"/dashboard/customers/Ona", "/dashboard/customers/Jonas%2F1"} <= set(several.links)
    none = await desk.post("/dashboard/customers", page.form | {"q": "nobody@example.org"})
    assert "No customer has this id" in none.words
    forged = await desk.post("/dashboard/customers", {"q": "Ona", "token": "x"})
    assert forged.status == 403


async def test_a_search_has_an_entry_that_shows_who_looked_for_the_same_and_not_for_what(site, shelf, desk):
    page = await desk.get("/dashboard/customers")
    before = len(audited(site))
    for text in ("nobody@example.org", "NOBODY@example.org", "Ona"):
        await desk.post("/dashboard/customers", page.form | {"q": text})

    entries = audited(site)[before:]
    assert {one[:3] for one in entries} == {("desk (service desk), dashboard", "customer find", "customers")}
    first, again, other = [one[3] for one in entries]
    assert first == again != other
    assert not any(text in reason for reason in (first, other) for text in ("nobody", "Ona"))


async def test_a_timeline_is_shown_and_contact_details_only_to_the_desk_with_an_entry(site, shelf, desk, vita):
    seen = await vita.get("/dashboard/customers/Ona")
    assert "The email with the link left." in seen.words
    assert "ona@example.org" not in seen.text
    assert not any("/do/resend" in link or link.endswith("/contact") for link in seen.links)
    assert (await vita.get("/dashboard/customers/Ona/contact")).status == 403
    assert (await vita.get("/dashboard/customers")).status == 403
    assert "ona@example.org" not in (await desk.get("/dashboard/customers/Ona")).text
    shown = await desk.get("/dashboard/customers/Ona/contact")
    assert "ona@example.org" in shown.words
    assert audited(site)[-1] == (
        "desk (service desk), dashboard",
        "customer show",
        "customer Ona",
        "contact details shown",
    )
    assert (await desk.get("/dashboard/customers/nobody")).status == 404
    assert "Jonas/1" in (await desk.get("/dashboard/customers/Jonas%2F1")).words


async def test_the_story_is_the_customers_and_what_was_done_to_the_batch_is_folded_away(shelf, desk, site, clock):
    Decisions(site.parts.database).pause(1, by="ann", now=clock())

    story, folded, of_batches = (await desk.get("/dashboard/customers/Ona")).text.partition("<details>")

    assert folded
    assert ("on batch 1" in story, "on batch 1" in of_batches) == (False, True)
    assert f">{NOON:%Y-%m-%d %H:%M:%S}</time>" in story  # the row, the session and the message are of one minute
    assert f">{clock():%Y-%m-%d %H:%M}</time>" in of_batches


async def test_the_desk_sends_the_link_again_with_a_reason_and_within_the_rules(shelf, desk, site):
    asked = await desk.get("/dashboard/do/resend?customer=Ona")
    assert "1 email; no session." in asked.words
    done = await desk.do("/dashboard/do/resend?customer=Ona", reason="call 4711")
    assert done.path == "/dashboard/customers/Ona"
    assert "The link leaves by email to o…@example.org." in done.words
    assert [row.kind for row in shelf.rows(InvitationRow)].count("resend-1") == 1
    assert ("desk (service desk), dashboard", "customer resend", "customer Ona", "the link by email; call 4711") in (
        audited(site)
    )
    again = await desk.get("/dashboard/do/resend?customer=Ona")
    assert again.status == 409
    assert "waiting to leave already" in again.words
    refused = await desk.get("/dashboard/do/new-link?customer=Ona")
    assert "The account kyc gives no other link before" in refused.words  # its name is written as it is
    assert '<a class="button" href="/dashboard/customers/Ona">Back</a>' in refused.text


async def test_a_link_of_a_stranger_fills_in_neither_an_address_nor_a_reason(shelf, desk):
    given = "email=eve@evil.example&phone=%2B37060000666&reason=called"
    asked = await desk.get(f"/dashboard/do/address?customer=Ona&{given}")

    assert asked.status == 200
    assert "evil" not in asked.text
    assert (asked.form["email"], asked.form["phone"], asked.form["reason"]) == ("", "", "")


async def test_an_address_is_typed_into_the_form_and_stands_in_no_url_and_no_entry(site, shelf, desk):
    asked = await desk.get("/dashboard/do/address?customer=Ona")
    form = asked.form | {"reason": "call 4712", "email": "nonsense"}
    wrong = await desk.post("/dashboard/do/address", form)
    assert "an @" in wrong.words
    done = await desk.post("/dashboard/do/address", form | {"email": "Ona.New@example.org"})
    assert "opens there until" in asked.words
    assert "Email changed. No message was added: the present link has gone to the old address" in done.words
    assert "Ona.New" not in done.text
    assert "ona.new" not in str(audited(site)).lower()
    assert shelf.row(CustomerRow, customer_id="Ona").email_digest


async def test_a_viewer_and_a_key_to_look_change_nothing(shelf, vita):
    for action in ("resend", "new-link", "address"):
        assert (await vita.get(f"/dashboard/do/{action}?customer=Ona")).status == 409
    assert [row.kind for row in shelf.rows(InvitationRow)] == ["invitation", "invitation"]


async def test_a_batch_shows_its_states_its_reasons_and_its_rows(shelf, ona):
    seen = await ona.get("/dashboard/batches/1")
    assert "1 row: it is not known whether the call was carried out" in seen.words
    assert "2 issued" in seen.words
    assert "2 invited" in seen.words
    assert any("/do/resolve?batch=1&row=4&verdict=repeat" in link for link in seen.links)
    only = await ona.get("/dashboard/batches/1?state=held")
    assert "/dashboard/customers/Held" in only.links
    assert "/dashboard/customers/Ona" not in only.links
    by_id = await ona.get("/dashboard/batches/1?q=Ona")
    assert "/dashboard/customers/Ona" in by_id.links
    assert "/dashboard/customers/Held" not in by_id.links
    assert (await ona.get("/dashboard/batches/99")).status == 404
    hostile = await ona.get("/dashboard/batches/1?q=%3Cscript%3E%27%20OR%201=1&state=x&after=-1")
    assert (hostile.status, "<script>'" in hostile.text) == (200, False)


async def test_a_batch_says_since_when_its_longest_review_lasts(shelf, ona):
    assert "longest review" not in (await ona.get("/dashboard/batches/1")).words
    shelf.set(SessionRow, SessionRow.customer_id == "Ona", result="review", update_at=shelf.clock())
    shelf.set(Job, Job.customer_id == "Ona", result="review")
    seen = await ona.get("/dashboard/batches/1")
    assert "review 1 the longest review: since 12:30:00 now" in seen.words


async def test_a_held_row_is_decided_from_the_batch(shelf, ona):
    done = await ona.do("/dashboard/do/resolve?batch=1&row=4&verdict=abandon", reason="asked by the client")
    assert "1 row is given up" in done.words
    assert shelf.row(Job, row=4).state == "cancelled"


async def test_many_rows_are_read_page_by_page(site, ona, clock):
    shelf = Shelf(site.parts.database, site.parts.keyring, clock)
    shelf.add(*(customer(f"C-{number}") for number in range(60)))
    first = await ona.get("/dashboard/batches/1")
    (link,) = (link for link in first.links if "after=" in link)
    second = await ona.get(link.partition("#")[0])
    assert ("/dashboard/customers/C-0" in first.links, "/dashboard/customers/C-59" in first.links) == (True, False)
    assert "/dashboard/customers/C-59" in second.links


def test_a_chart_has_a_bar_for_each_number_and_wider_steps_for_longer_times():
    drawn = chart({"issued": [(NOON, 4)], "refused": [(NOON + timedelta(hours=2), 1)]})
    assert drawn is not None
    assert (len(drawn["bars"]), drawn["top"], drawn["step"]) == (2, 4, timedelta(hours=1))
    assert drawn["bars"][0]["words"] == "2026-11-20 12:00 UTC: 4 issued"
    long = chart({"issued": [(NOON, 4), (NOON + timedelta(days=30), 4)]})
    assert long is not None
    assert long["step"] == timedelta(hours=24)
    assert chart({"issued": []}) is None


async def test_the_desk_reads_a_message_as_it_left_without_its_link(site, shelf, desk, vita):
    in_lithuanian = replace(SAMPLE, customer=Customer("sample", locale="lt"))
    template = site.parts.templates.render(in_lithuanian, channel="email", now=SAMPLE_NOW).digest
    shelf.set(InvitationRow, InvitationRow.job_id == shelf.job("Ona").id, template=template)
    page = await desk.get("/dashboard/customers/Ona")
    assert "/dashboard/customers/Ona/messages" in page.links

    seen = await desk.get("/dashboard/customers/Ona/messages")

    assert "to ona@example.org" in seen.words
    assert f"From the same template as it left with (digest {template})" in seen.words
    assert "https://verify.test/…" in seen.words
    assert "token-00" not in seen.text
    assert audited(site)[-1] == ("desk (service desk), dashboard", "customer show", "customer Ona", "messages shown")
    assert (await vita.get("/dashboard/customers/Ona/messages")).status == 403
    assert not any(link.endswith("/messages") for link in (await vita.get("/dashboard/customers/Ona")).links)


async def test_a_message_of_another_template_or_of_none_says_so(shelf, desk):
    shelf.set(InvitationRow, InvitationRow.job_id == shelf.job("Ona").id, template="0123456789abcdef")
    shelf.set(Job, Job.customer_id == "Jonas/1", template="gone")

    seen = await desk.get("/dashboard/customers/Ona/messages")
    gone = await desk.get("/dashboard/customers/Jonas%2F1/messages")

    assert "The template has changed since this message left (its digest was 0123456789abcdef)" in seen.words
    assert "It cannot be made again: the line names a template that does not exist." in gone.words
    shelf.set(Job, Job.customer_id == "Jonas/1", template="", brand="gone")
    assert "the configuration does not have" in (await desk.get("/dashboard/customers/Jonas%2F1/messages")).words


async def test_nothing_is_left_of_the_messages_of_an_erased_customer(site, shelf, desk, clock):
    erased(site.parts.database, site.parts.keyring, "Ona", now=clock())

    seen = await desk.get("/dashboard/customers/Ona/messages")

    assert "The customer was erased" in seen.words
    assert "https://" not in seen.words


async def test_details_that_no_key_decrypts_are_no_bug(site, shelf, desk):
    shelf.set(CustomerRow, CustomerRow.customer_id == "Ona", encrypted=b"no key " * 9)

    seen = await desk.get("/dashboard/customers/Ona/contact")

    assert (seen.status, "No key decrypts" in seen.words) == (409, True)


WHATSAPP = '[whatsapp]\nfrom = "+15005550006"\n'


async def test_the_link_is_offered_by_each_channel_that_has_a_sender_and_an_address(open_site, enter, clock):
    key = new_key()
    site = await open_site(sms=WHATSAPP, key=key)
    shelf = Shelf(site.parts.database, site.parts.keyring, clock)
    # An address that is not the row's own channel is a way too.
    shelf.add(customer("Ona"), customer("Jonas", channel=Channel.SMS))
    shelf.add(
        *(
            customer(f"No-{lacks}", person=Person(**{"email": "a@example.org", "phone": "+37060000001"} | {lacks: ""}))
            for lacks in ("email", "phone")
        )
    )

    async def offered(at: Site) -> dict[str, list[str]]:
        desk = await enter("desk", at)
        names = ("Ona", "Jonas", "No-email", "No-phone")
        pages = [await desk.get(f"/dashboard/customers/{name}") for name in names]
        return {name: re.findall(r'id="resend-(\w+)"', page.text) for name, page in zip(names, pages, strict=True)}

    with_whatsapp, without = await offered(site), await offered(await open_site(key=key))
    three = ["email", "sms", "whatsapp"]
    assert with_whatsapp == {"Ona": three, "Jonas": three, "No-email": three[1:], "No-phone": []}
    assert without == {"Ona": three[:2], "Jonas": three[:2], "No-email": [], "No-phone": []}
