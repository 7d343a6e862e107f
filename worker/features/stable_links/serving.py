"""Adds the page of stable links to a web application: `/s/ID`."""

from collections.abc import AsyncIterator

from aiohttp import web

from worker.core.foundation.count_log import logged
from worker.features.stable_links.page_answers import StablePages
from worker.features.stable_links.policy import door_policy, made
from worker.features.stable_links.routes import StableRoutes
from worker.features.stable_links.rules import StableRules
from worker.features.stable_links.section import Links
from worker.features.stable_links.store.doors import Doors
from worker.features.stable_links.store.not_me import NotMe
from worker.features.stable_links.visitors import Visitors
from worker.runtime.web_application import FeatureRoutes, Shared
from worker.web.events.link_waiters import Waiting
from worker.wiring.container import Parts


def doors_of(parts: Parts) -> Doors:
    """What visitors of stable links find."""
    return Doors(parts.database, parts.keyring, door_policy(parts.settings, parts.providers))


def add(application: web.Application, shared: Shared) -> None:
    """Whatever the mode is now, links that were sent lead on."""
    parts, settings = shared.parts, shared.parts.settings
    if settings.web.base_url is None:
        return
    links, own, doors = settings.section(Links), made(settings), doors_of(parts)
    is_secure = settings.web.base_url.startswith("https:")
    waiting = Waiting(doors.ready, shared.in_thread)
    rules = StableRules(
        hosts={name: account.link_hosts for name, account in settings.accounts.items()},
        on_click=own is not None and own.on_click,
        page_first=links.page,
        trusted=settings.web.trusted_proxies,
        form_seconds=shared.form_seconds,
    )
    routes = StableRoutes(
        rules,
        doors,
        NotMe(parts.database, parts.keyring),
        Visitors(parts.keyring, is_secure=is_secure),
        StablePages(parts.link_pages, is_secure=is_secure),
        waiting,
        shared.readiness,
        shared.in_thread,
        shared.wake,
        clock=parts.clock,
        database_clock=parts.database_clock,
    )

    async def answer_waiting(_application: web.Application) -> None:
        waiting.close()

    async def log_what_does_not_count(_application: web.Application) -> AsyncIterator[None]:
        async with logged(routes.not_counted):
            yield

    application.on_shutdown.append(answer_waiting)
    application.cleanup_ctx.append(log_what_does_not_count)
    routes.add_to(application.router)


ROUTES = FeatureRoutes(
    add,
    paths="""\
  /s/{secret}:
    get:
      summary: A stable link. Leads a customer to the live session, or shows a page.
      security: []
      parameters: &secret [{name: secret, in: path, required: true, schema: {type: string}}]
      responses: &visit
        "303": {description: To the live session., headers: {Location: {required: true, schema: {type: string}}}}
        <<: &page
          "200": {description: A page., content: {text/html: &text {schema: {type: string}}}}
          "404":
            description: A link that leads nowhere; a problem, if its address cannot be one of ours.
            content: {text/html: *text, application/problem+json: {schema: {$ref: "#/components/schemas/Problem"}}}
          "429":
            description: Too many requests.
            headers: {Retry-After: {description: Seconds., required: true, schema: {type: integer}}}
            content: {text/html: *text}
          "503":
            description: The database cannot be reached, or a key is missing. Plain text where no page can be made.
            headers: {Retry-After: {description: Seconds; not with plain text., schema: {type: integer}}}
            content: {text/html: *text, text/plain: *text}
    post:
      summary: The button of the link's page.
      security: []
      parameters: *secret
      requestBody: &form
        required: true
        content:
          application/x-www-form-urlencoded:
            schema: {type: object, properties: {form: {type: string}}}
      responses:
        <<: *visit
        "400": &bad {$ref: "#/components/responses/Problem"}
        "408": *bad
        "413": *bad
        "415": *bad
  /s/{secret}/not-me:
    get:
      summary: Asks whether the link is for another person.
      security: []
      parameters: *secret
      responses: *page
    post:
      summary: The link is for another person; no further message, and a person looks at the row.
      security: []
      parameters: *secret
      requestBody: *form
      responses:
        <<: *page
        "400": *bad
        "408": *bad
        "413": *bad
        "415": *bad
""",
)
