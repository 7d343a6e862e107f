"""One list, two brands: each mail has its own sender, logo and words; the row says which, else its route."""

from tests.desk.desk import Desk, Played
from tests.suite.some import some

BRANDS = """
[brand]
name = "Example"
logo = "https://example.com/logo.png"
[brand.nova]
name = "Nova"
from = "Nova <hello@nova.example>"
reply_to = "Nova help <help@nova.example>"
logo = "https://nova.example/logo.png"
support = "https://nova.example/help"
"""
ROUTE = '[[routes]]\nwhen = { tags = "nova" }\naccounts = ["kyc"]\nbrand = "nova"\n'
LIST = (
    "customer_id,email,phone,channel,first_name,tags,brand\n"
    "c-1,one@example.com,,,Ona,,\n"
    "c-2,two@example.com,,,Jonas,nova,\n"
    "c-3,three@example.com,,,Rasa,,nova\n"
    "c-4,,+37060012345,sms,Lina,nova,\n"
    "c-5,five@example.com,,,Ema,nova,nowhere\n"
)


def test_each_mail_of_a_list_has_the_sender_the_logo_and_the_words_of_its_brand(desk: Desk, played: Played):
    before, first, after = desk.config.read_text("utf-8").partition("[[routes]]")
    desk.config.write_text(f"{before}{ROUTE}{first}{after}{BRANDS}", "utf-8")
    rows = desk.write("list.csv", LIST)

    checked = desk.onboard("check", rows, "--json").facts
    ran = desk.onboard("run", rows)

    assert checked["brands"] == {"": 1, "nova": 3}
    assert [(one["row"], one["column"]) for one in checked["problems"]] == [(6, "brand")]
    assert "use one of nova" in checked["problems"][0]["hint"]
    assert ran.code == 1
    mails = {mail.recipients[0]: mail.facts() for mail in played.sandbox.mailbox}
    assert sorted(mails) == ["one@example.com", "three@example.com", "two@example.com"]
    for address, facts in some(mails.items()):
        headers, is_nova = facts["headers"], address != "one@example.com"
        assert (headers["From"] == "Nova <hello@nova.example>") is is_nova
        assert (facts["from"] == "hello@nova.example") is is_nova  # the envelope's, for SPF
        assert headers.get("Reply-To") == ("Nova help <help@nova.example>" if is_nova else None)
        assert facts["subject"].startswith("Nova: " if is_nova else "Example: ")
        for logo, shown in (("https://nova.example/logo.png", is_nova), ("https://example.com/logo.png", not is_nova)):
            assert (logo in facts["html"]) is shown
    assert [text.body.partition(":")[0] for text in played.sandbox.texts] == ["Nova"]
    report = desk.onboard("report", "latest", "--with-routes").table
    assert [line["brand"] for line in report] == ["", "nova", "nova", "nova", ""]


def test_a_preview_has_the_rows_brand_or_the_one_that_is_asked_for(desk: Desk):
    desk.add(BRANDS)
    rows = desk.write("list.csv", "customer_id,email,brand\nc-1,one@example.com,nova\n")

    assert "Nova" in desk.onboard("template", "preview", "--row", "2", rows).out
    assert "https://nova.example/help" in desk.onboard("template", "preview", "--brand", "nova").out
    assert "Subject: Example: " in desk.onboard("template", "preview").out
    assert "Nova" in desk.onboard("template", "preview", "--brand", "nova", "--page", "ask").out
    refused = desk.onboard("template", "preview", "--brand", "nowhere")
    assert (refused.code, refused.out) == (2, "")
    assert "nova" in refused.err


def test_rows_of_a_brand_that_was_taken_out_wait_and_go_on_in_its_words_when_it_is_back(desk: Desk, played: Played):
    plain = desk.config.read_text("utf-8")
    desk.add(BRANDS)
    rows = desk.write("list.csv", "customer_id,email,brand\nc-1,one@example.com,\nc-2,two@example.com,nova\n")
    assert desk.onboard("import", rows).code == 0
    desk.config.write_text(plain, "utf-8")

    ran = desk.onboard("run", rows)
    status = desk.onboard("status", "--json").facts
    (_, line) = desk.onboard("report", "1").table

    gone = "nova: 1 row waits for [brand.nova], which this configuration does not have: put it back"
    assert (ran.code, ran.err.splitlines()[-1]) == (1, f"{gone}, and run again")
    assert f"no end yet   {gone}\n" in ran.out
    assert f"no end yet   {gone}\n" in desk.onboard("status", "1").out
    assert [mail.recipients[0] for mail in played.sandbox.mailbox] == ["one@example.com"]
    assert len(played.calls()) == 1  # no session is bought for what cannot be sent
    (need,) = [one for one in status["needs_a_person"] if one["what"] == "brand"]
    assert (need["name"], "[brand.nova]" in need["reason"]) == ("nova", True)
    assert (line["state"], "brand" in line["error"], "[brand.NAME]" in line["action"]) == ("waiting", True, True)

    desk.add(BRANDS)
    desk.sql("UPDATE job SET due_at = created_at WHERE reason = 'brand_missing'")
    assert desk.onboard("run", rows).code == 0
    (late,) = [mail.facts() for mail in played.sandbox.mailbox if mail.recipients[0] == "two@example.com"]
    assert late["headers"]["From"] == "Nova <hello@nova.example>"
    assert not any(one["what"] == "brand" for one in desk.onboard("status", "--json").facts["needs_a_person"])
