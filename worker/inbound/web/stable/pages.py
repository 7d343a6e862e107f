"""What a visitor of a stable link sees: plain pages without scripts, one for each decision."""

from dataclasses import dataclass
from html import escape

from worker.domain.links.door import Buy, Decision, Finished, Gone, Over, Press, Wait

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Cache-Control": "no-store",
    # Without form-action: browsers apply it to the redirect that follows a press too, which leads to the provider.
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True)
class Shown:
    """A page to make. `form`: what its button posts; `again`: it was pressed and did not count. `locale`: the
    customer's; "" where no customer is shown anything."""

    decision: Decision
    form: str = ""
    again: bool = False
    locale: str = ""


def page_of(shown: Shown) -> str:
    title, text = _words(shown)
    button = ""
    if shown.form:
        button = (
            f'<form method="post"><input type="hidden" name="form" value="{escape(shown.form)}">'
            "<button>Continue</button></form>"
        )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"></head>'
        f"<body><main><h1>{title}</h1><p>{text}</p>{button}</main></body></html>"
    )


def _words(shown: Shown) -> tuple[str, str]:
    match shown.decision:
        case Finished():
            return "Thank you", "Your verification is complete. There is nothing more to do."
        case Wait() | Buy():
            return "One moment", "Your verification is being prepared. This page goes on by itself."
        case Over():
            return "Your verification cannot go on here", "Please ask the company that sent you this link."
        case Gone():
            return "This link leads nowhere", "Please ask the company that sent you this link for a new one."
        case Press():
            text = "Press the button to begin your verification."
            return "Your verification", f"Please press the button once more. {text}" if shown.again else text
        case _:
            return "Your verification", "Press the button to go on."
