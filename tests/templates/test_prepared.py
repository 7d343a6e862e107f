"""What is rendered once and filled in for each customer must read as if it were rendered for each."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.customers import Customer, CustomerKind, Person
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.templates.checks import SAMPLE, SAMPLE_NOW
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import PERSONAL, Templates
from onboarding_worker.templates.values import VARIABLES

NAMES = st.text(max_size=12) | st.sampled_from(["", "<b>Ona</b>", "O'Brien & Co", "\ue000link\ue001", "{{ link }}"])


def people():
    return st.builds(Person, first_name=NAMES, last_name=NAMES, company_name=NAMES)


def invitations():
    customers = st.builds(
        Customer,
        customer_id=st.just("C-1"),
        kind=st.sampled_from(CustomerKind),
        person=people(),
        locale=st.sampled_from(["de", "en", "lt"]),
    )
    openings = st.builds(Opening, link=st.just(SAMPLE.opening.link), digits=st.sampled_from(["", "0123"]))
    return st.builds(
        replace,
        st.just(SAMPLE),
        customer=customers,
        wording=st.sampled_from(["invitation", "reminder", "new_link"]),
        opening=openings,
    )


def rendering_each(templates: Templates) -> Templates:
    """The same templates, which render each message from the start."""
    about = templates._files
    templates._files = lambda brand, sources: about(brand, sources)._replace(only_show=False)
    return templates


PREPARED, EACH = Templates(None), rendering_each(Templates(None))


@given(invitation=invitations(), channel=st.sampled_from(["email", "sms"]), hours=st.integers(0, 200))
def test_a_prepared_text_reads_as_one_that_is_rendered_for_the_customer(invitation, channel, hours):
    now = SAMPLE_NOW + timedelta(hours=hours)
    for _ in range(2):  # prepared by the first one, kept for the second
        made = PREPARED.render(invitation, channel=channel, now=now)
        expected = EACH.render(invitation, channel=channel, now=now)
        assert (made.subject, made.text, made.html) == (expected.subject, expected.text, expected.html)


def test_the_built_in_texts_are_prepared_and_no_value_of_a_customer_is_kept():
    templates = Templates(None)
    for first_name in ("Ona", "Zoë"):
        person = Person(first_name=first_name, last_name="Kazlauskienė")
        templates.render(replace(SAMPLE, customer=Customer(first_name, person=person)), channel="email", now=SAMPLE_NOW)
    [kept] = templates._prepared.items()
    assert "Kazlauskienė" not in repr(kept)
    assert SAMPLE.opening.link not in repr(kept)


@pytest.mark.parametrize(
    "words", ["{{ name|upper }}", "{% if name == 'Ona' %}x{% endif %}", "{% set who = first_name %}{{ who }}"]
)
def test_a_template_that_does_more_with_a_name_is_rendered_for_each_customer(tmp_path, words):
    folder = tmp_path / "default" / "en"
    folder.mkdir(parents=True)
    (folder / "sms.txt").write_text(words + "{{ link }}")
    templates = Templates(tmp_path)
    for name in ("Ona", "Zoë"):
        invitation = replace(SAMPLE, customer=Customer(name, person=Person(first_name=name)))
        text = templates.render(invitation, channel="sms", now=SAMPLE_NOW).text
        shown = {"{{ name|upper }}": name.upper(), "{% set who = first_name %}{{ who }}": name}
        assert text == shown.get(words, "x" if name == "Ona" else "") + SAMPLE.opening.link
    assert not templates._prepared


def test_a_text_that_a_value_makes_too_long_is_refused(tmp_path):
    folder = tmp_path / "default" / "en"
    folder.mkdir(parents=True)
    (folder / "sms.txt").write_text("{{ link }}" * 1000)
    invitation = replace(SAMPLE, opening=Opening("https://verify.example.com/" + "a" * 3000))
    with pytest.raises(TemplateProblem, match="renders more than"):
        Templates(tmp_path).render(invitation, channel="sms", now=SAMPLE_NOW)


def test_each_personal_variable_is_known_to_templates():
    assert set(PERSONAL) <= VARIABLES.keys()
