"""`onboard run` asks again in the name of the brand that asked first, whether the row or its route named it."""

from datetime import UTC, datetime, timedelta

from tests.desk.desk import Desk, Played
from tests.features.renew.test_foreseen import RENEW, approved

BRANDS = '[brand]\nname = "Example Bank"\n[brand.nova]\nname = "Nova"\nfrom = "Nova <hello@nova.example>"\n'
ROUTE = '[[routes]]\nwhen = { tags = "nova" }\naccounts = ["kyc"]\nbrand = "nova"\n'
LIST = "customer_id,email,tags,brand\nc-1,one@example.com,,\nc-2,two@example.com,nova,\nc-3,three@example.com,,nova\n"


def test_each_customer_is_asked_again_in_the_name_that_asked_first(desk: Desk, played: Played):
    before, first, after = desk.config.read_text("utf-8").partition("[[routes]]")
    desk.config.write_text(f"{before}{ROUTE}{first}{after}{BRANDS}{RENEW}", "utf-8")
    assert desk.onboard("run", desk.write("list.csv", LIST)).code == 0
    desk.sql("UPDATE session SET state = 'completed', result = 'approved', check_at = NULL")
    desk.sql("UPDATE job SET state = 'completed', result = 'approved'")
    long_ago = datetime.now(UTC) - timedelta(days=720)  # noqa: TID251 -- the command goes by the machine's clock
    for name in ("c-1", "c-2", "c-3"):
        approved(desk, long_ago, name)

    alone = desk.write("alone.csv", "customer_id,email\nc-4,four@example.com\n")
    assert desk.onboard("run", alone, "--all").code == 0

    mails = [(mail.recipients[0], mail.facts()["headers"]["From"]) for mail in played.sandbox.mailbox]
    names = [(to.partition("@")[0], sender.partition(" <")[0]) for to, sender in mails]
    assert sorted(one for one in names if one[0] != "four") == sorted(
        2 * [("one", "Example Bank"), ("two", "Nova"), ("three", "Nova")]
    )
