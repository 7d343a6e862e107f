"""A customer's message as it would be sent, with an example in place of the link."""

from dataclasses import replace

from onboarding_worker.cli.exits import refusing
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.model.customers import Customer, Person
from onboarding_worker.core.rules.contracts import Message
from onboarding_worker.settings.model import Settings
from onboarding_worker.templates.language import TemplateProblem
from onboarding_worker.templates.render import Templates
from onboarding_worker.templates.values import Screen
from onboarding_worker.wiring.message_tests import sample
from onboarding_worker.wiring.templates import pages_of

LINK = "https://verify.example.com/sample"  # never a customer's own: a preview is looked at, sent on and kept


def example(templates: Templates, *, locale: str = "", template: str = "", brand: str = "") -> Customer:
    """A customer who has no row, with a value of each column of lists that the templates use."""
    person = Person(email="maria@example.com", first_name="Maria", last_name="Example")
    person = replace(person, message={name: f"Example {name}" for name in templates.own_columns})
    return Customer("sample", person=person, locale=locale, template=template, brand=brand)


def rendered(
    settings: Settings, templates: Templates, customer: Customer, channel: str, kind: str, *, link: str = LINK
) -> Message:
    """The message of this kind. Raises CannotStart where its template cannot be rendered."""
    with refusing(TemplateProblem):
        return sample(settings, templates, customer, channel, kind, link=link, now=ProcessClock()())


def page_of(settings: Settings, customer: Customer, screen: Screen) -> str:
    """The page behind a stable link. Raises CannotStart where it cannot be rendered."""
    with refusing(TemplateProblem):
        return pages_of(settings)[customer.brand].render(
            screen,
            locale=customer.locale,
            template=customer.template,
            customer_kind=customer.kind.value,
            address="/s/sample",
        )
