"""Several brands: their sections, the routes that name them, and addresses that could break a mail."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.settings.sending import Email, NamedBrand
from tests.settings.samples import loaded, problems, tree

NOVA = {"name": "Nova", "from": "Nova <hello@nova.example>", "reply_to": "help@nova.example"}
BANK, HELP, OWN = "Bank <bank@example.com>", "help@example.com", "nova@nova.example"


def with_brands(**brand: Any) -> dict[str, Any]:
    return tree(brand=brand)


def test_a_brand_stands_next_to_the_keys_of_the_default_one(tmp_path: Path) -> None:
    read = loaded(tmp_path, with_brands(colour="#123456", nova=NOVA), ONBOARDING__BRAND__NOVA__SUPPORT="ask us")

    assert read.brand is not None
    assert (read.brand.colour, read.brands["nova"].from_) == ("#123456", NOVA["from"])
    assert read.brands["nova"].support == "ask us"
    assert read.brands["nova"].look.colour != "#123456"  # of the default brand it takes nothing


def test_what_a_brand_cannot_be_is_named_by_its_key(tmp_path: Path) -> None:
    assert problems(tmp_path, with_brands(nova={"frm": BANK})) == ["brand.nova.frm: unknown key; did you mean `from`?"]
    assert problems(tmp_path, with_brands(colr="#123456")) == ["brand.colr: unknown key; did you mean `colour`?"]
    assert problems(tmp_path, with_brands(**{"no va": {}}))[0].startswith('brand."no va": expected a name')
    route = tree(routes=[{"accounts": ["kyc"], "brand": "nva"}], brand={"nova": {}})
    assert problems(tmp_path, route) == ["routes[1].brand: no such brand; did you mean `nova`?"]
    assert problems(tmp_path, tree(routes=[{"accounts": ["kyc"], "brand": "nova"}])) != []
    without_mail = {name: section for name, section in with_brands(nova=NOVA).items() if name != "email"}
    found = [line for line in problems(tmp_path, without_mail) if line.startswith("brand.")]
    assert found == [f"brand.nova.{key}: needs the section [email]" for key in ("from", "reply_to")]


@given(
    key=st.sampled_from(["from", "reply_to"]),
    bad=st.sampled_from(["\n", "\r\nBcc: a@b.c", "\x00", "\u202e", "\u2028", ", a@b.example", "<"]),
    at=st.integers(0, len(NOVA["from"])),
)
def test_an_address_that_could_add_a_header_or_a_recipient_is_refused(key: str, bad: str, at: int) -> None:
    text = NOVA["from"][:at] + bad + NOVA["from"][at:]
    try:
        read = NamedBrand.model_validate({key: text})
    except ValueError:
        return
    # Only white space at its ends may be left out.
    assert str(read.from_ or read.reply_to).strip().count("@") == 1
    assert not bad.strip() or bad not in text.strip()


def test_answers_to_a_brand_with_a_sender_of_its_own_do_not_go_to_the_default_one() -> None:
    email = Email.model_validate({"url": "smtp://127.0.0.1", "from": BANK, "reply_to": HELP})

    def addresses(**brand: str) -> tuple[str, str]:
        return NamedBrand.model_validate(brand).addresses(email)

    assert addresses() == (BANK, HELP)
    assert addresses(**{"from": OWN}) == (OWN, "")
    assert addresses(reply_to=OWN) == (BANK, OWN)
