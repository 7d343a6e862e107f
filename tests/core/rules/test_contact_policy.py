"""What the configuration says of the messages to one customer."""

from datetime import timedelta

from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.rules.contact import Caps, ContactPolicy, Ladder, Rung
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from tests.suite.cases import differing

DAY = timedelta(days=1)
CAPS = Caps(1, 1)
STEPS = {DAY: Rung("email"), 2 * DAY: Rung("sms"), 3 * DAY: Rung("whatsapp"), 4 * DAY: Rung(template="last")}
LADDER = Ladder(STEPS)
MAIL, MOBILE, LANDLINE = "ona@example.org", "+37060000001", "+37052123456"


def test_a_reminder_by_a_channel_without_an_address_that_it_may_use_is_impossible():
    cases = [
        (MAIL, MOBILE, None, set()),
        (MAIL, MOBILE, frozenset({"LT"}), set()),
        (MAIL, MOBILE, frozenset({"LV"}), {2 * DAY}),  # the cap on countries is for texts alone
        (MAIL, LANDLINE, None, {2 * DAY}),
        (MAIL, "", None, {2 * DAY, 3 * DAY}),
        ("", MOBILE, None, {DAY}),
        ("", "", None, {DAY, 2 * DAY, 3 * DAY}),
    ]

    def impossible(email, phone, countries):
        policy = ContactPolicy(CAPS, ladder=LADDER, countries=countries)
        return policy.impossible(Customer("C-1", person=Person(email=email, phone=phone)))

    assert differing(cases, impossible) == []


def test_a_step_that_only_has_a_template_goes_to_whoever_the_first_message_went_to():
    ladder = Ladder({DAY: Rung(template="last")})
    assert ladder.channels == set()
    assert ContactPolicy(CAPS, ladder=ladder).impossible(Customer("C-1")) == set()
    assert LADDER.channels == {"email", "sms", "whatsapp"}


def test_reminders_by_another_channel_keep_its_quiet_hours():
    night = QuietHours.parse("21:00-08:00")
    policy = ContactPolicy(CAPS, ladder=LADDER, hours=Hours({"sms": night}))
    assert policy.elsewhere == {DAY: None, 2 * DAY: night, 3 * DAY: None}


def test_only_a_brand_that_the_configuration_does_not_have_is_lacking():
    cases = [
        ("", None, False),
        ("", frozenset(), False),
        ("nova", None, False),
        ("nova", frozenset(), True),
        ("nova", frozenset({"other"}), True),
        ("nova", frozenset({"nova", "other"}), False),
    ]

    def lacks(brand, brands):
        return ContactPolicy(CAPS, brands=brands).lacks_brand(Customer("C-1", brand=brand))

    assert differing(cases, lacks) == []
