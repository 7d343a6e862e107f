"""Finds a customer and helps: docs/features/service_desk.md."""

from onboarding_worker.core.foundation.features import Command, Feature


def _command(place: str, short_help: str) -> Command:
    return Command(f"onboarding_worker.features.service_desk.{place}", "Customers", short_help)


FEATURE = Feature(
    name="service_desk",
    about="Finds a customer and helps: resend, new link, address. Without it a list has to do that.",
    needs=("privacy",),
    offers={"RETURNED_REPORTS": ("onboarding_worker.features.service_desk.returned_lists:settling",)},
    commands={
        "customer": _command("group:customer", "Find a customer, and help: resend, new link, address."),
        "customer find": _command("find:find", "Find customers by email address, phone number or id."),
        "customer show": _command("command:show", "Show what has happened to one customer, and what comes next."),
        "customer resend": _command("desk_actions:resend", "Send the customer's present link once more."),
        "customer new-link": _command("desk_actions:new_link", "Open another session, and send its link."),
        "customer address": _command("desk_actions:address", "Correct the email address or phone number."),
        "customer erase": _command("command:erase", "Erase all personal data of one customer, for good."),
        "customer export": _command("command:export", "Show all that is stored about one customer."),
        "customer reapply": _command("command:reapply", "Bring back what a restored database does not know."),
    },
)
