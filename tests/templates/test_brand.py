"""The colours that follow from the brand's one colour can be read, whatever it is; and what a contact opens."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.templates.brand import DARK_PAPER, LEAST_CONTRAST, PAPER, Brand, contrast
from onboarding_worker.templates.checks import problems
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates
from tests.templates.test_render import NOW, Page, to

COLOURS = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


@given(COLOURS)
def test_everything_in_the_brands_colour_can_be_read(colour):
    brand = Brand(colour=colour)
    assert contrast(brand.ink, brand.colour) >= LEAST_CONTRAST
    assert contrast(brand.ink, brand.values["hover_colour"]) >= LEAST_CONTRAST
    assert contrast(brand.values["link_colour"], PAPER) >= LEAST_CONTRAST
    assert contrast(brand.values["link_colour_dark"], DARK_PAPER) >= LEAST_CONTRAST


@pytest.mark.parametrize(
    ("one", "other", "ratio"), [("#ffffff", "#000000", 21.0), ("#777777", "#ffffff", 4.48), ("#1a5fc8", "#1a5fc8", 1.0)]
)
def test_contrast_is_the_one_of_wcag(one, other, ratio):
    assert round(contrast(one, other), 2) == round(contrast(other, one), 2) == ratio


def test_a_colour_that_can_be_read_stays_as_it_is():
    assert Brand(colour="#0b5d3b").values["link_colour"] == "#0b5d3b"
    assert Brand(colour="#ffd400").ink == "#1a2230"


def test_a_contact_opens_what_it_is():
    cases = {
        "help@bank.example": "mailto:help@bank.example",
        "+370 600 00-000": "tel:+37060000000",
        "https://bank.example/help": "https://bank.example/help",
        "Mon-Fri 9-17 at every branch": "",
        "javascript:alert(1)": "",
        "": "",
    }
    assert {support: Brand(support=support).support_link for support in cases} == cases


BRAND = Brand(
    logo="https://cdn.bank.example/logo.png",
    colour="#ffd400",
    footer="Bank AB, Vilnius\n<b>Licence 1</b>",
    support="help@bank.example",
)


def test_the_brand_is_in_every_built_in_mail(subtests):
    for locale in ["en", "de", "es", "fr", "lt"]:
        with subtests.test(locale=locale):
            mail = Templates(None, brand=BRAND).render(to(locale), channel="email", now=NOW)
            page = Page(mail.html)

            images = [attributes for tag, attributes in page.tags if tag == "img"]
            assert [(image["src"], image["alt"]) for image in images] == [(BRAND.logo, "Example Bank")]
            assert 'bgcolor="#ffd400"' in mail.html
            assert 'color:#1a2230;">' in mail.html
            assert "mailto:help@bank.example" in page.links
            assert "&lt;b&gt;Licence 1&lt;/b&gt;" in mail.html
            assert mail.text.endswith("Example Bank\n\nBank AB, Vilnius\n<b>Licence 1</b>")
            assert "help@bank.example" in mail.text


def test_a_brand_leaves_no_built_in_text_with_a_problem():
    assert problems(Templates(None, brand=BRAND)) == []


def test_each_brand_has_its_own_look_and_template_and_one_that_is_no_more_writes_nothing(tmp_path):
    own = tmp_path / "nova/en"
    own.mkdir(parents=True)
    (own / "subject.txt").write_text("Hello from {{ sender_name }}")
    (own / "body.txt").write_text("{{ link }} {{ logo }} {{ first_name }}")
    nova = Brand(logo="https://nova.example/logo.png", template="nova")
    templates = Templates(tmp_path, brand=BRAND, brands={"nova": nova, "other": Brand()})

    def mail(brand: str, template: str = ""):
        invitation = to("en")
        customer = replace(invitation.customer, brand=brand, template=template)
        return templates.render(replace(invitation, customer=customer), channel="email", now=NOW)

    assert mail("nova").text.split()[1] == nova.logo
    assert mail("nova", "default").html.count(nova.logo) == 1
    assert BRAND.logo not in mail("other").html
    assert BRAND.logo in mail("").html
    assert len({mail("other").digest, mail("").digest, mail("nova", "default").digest}) == 3
    with pytest.raises(TemplateProblem, match="brand"):
        mail("gone")
