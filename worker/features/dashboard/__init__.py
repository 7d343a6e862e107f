"""The dashboard: pages about how the work stands, and actions, for persons (docs/features/dashboard.md). Rendered on
the server.

**A page** is a `contract.Page` in a module of `pages/`, with a template that extends `layout.html` and fills its block
`main`; name it in `pages/__init__`. Its `read(sources, asked)` runs in a thread: it may block, and returns what the
template shows. It computes; the template only writes down. `asked.values` has the parts of the path and of the query,
which may be any text: use `asked.text` and `asked.number`. It raises `NotThere` or `Refused` with a sentence for the
person. If it uses `asked.person`, or writes the audit log, set `shared=False`: else one answer serves all persons for a
second.
Templates have `person`, `now`, `here`, `Role`, `read_at`, and what `read` returned; `ui` are the macros of macros.html.

**A live part** is a template of its own, which the page includes in `{% call ui.live() %}` and names in `Page.live`.
A page that is nothing else needs no other template. The browser asks for the page's own address every two seconds, and
gets this part alone. It begins with `{% import "macros.html" as ui with context %}`. Links and buttons in it have ids:
then the keyboard's focus stays.

**An action** is a `contract.Action` in a module of `pages/`; name it in `pages/__init__`. A template links to it by
`ui.action(do("pause", batch=3), "Pause")` if `person.may_change(Role.OPERATOR)`. The site shows what `plan` returns,
asks for the reason, and checks form, role, reason and that the plan is still the same; then `carry_out` does it with
`sources.acting(asked, "pause", reason)`, whose changes have the person's name in the audit log. Call the same
functions of the store or the engine as the command does.

**Styles** are in static/dashboard.css, with both colour schemes. No inline style or script: the policy forbids both, so
bars are SVG. A wide table is `{% call ui.table(…) %}` with `data-name` on its cells: a list of cards on a phone.
"""

from onboarding_worker.core.foundation.features import Command, Feature

FEATURE = Feature(
    name="dashboard",
    about="Pages about how the work stands, and actions, for persons. Without it there is the command line.",
    needs=("audit", "outbox", "service_desk"),
    offers={
        "ROUTES": ("onboarding_worker.features.dashboard.route:ROUTES",),
        "SECTIONS": ("onboarding_worker.features.dashboard.users:SECTION",),
    },
    commands={
        "users": Command("onboarding_worker.features.dashboard.command:users", "Set-up", "Add users of the dashboard.")
    },
)
