"""The dashboard's addresses: its pages, their live parts, its actions, and its log-ins."""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from aiohttp import web

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.keyring import CannotDecrypt
from onboarding_worker.features.dashboard.contract import (
    Action,
    Arrival,
    Asked,
    Done,
    Download,
    Elsewhere,
    NotThere,
    Page,
    Part,
    Plan,
    Refused,
    Sources,
)
from onboarding_worker.features.dashboard.files import receive, send
from onboarding_worker.features.dashboard.log_in import LEAVE, LogInPage, local_path
from onboarding_worker.features.dashboard.log_in import PATH as LOG_IN
from onboarding_worker.features.dashboard.log_in_ways import another_way
from onboarding_worker.features.dashboard.rendering import ASSETS, asset, page, see
from onboarding_worker.features.dashboard.store.log_ins import LogIns
from onboarding_worker.features.dashboard.users import Role
from onboarding_worker.features.dashboard.visits import (
    ENTERED,
    SAID,
    Visit,
    Visits,
    drop_cookie,
    form_token,
    is_from_here,
    say,
    what_was_said,
)
from onboarding_worker.runtime.web_application import Shared, in_thread_of
from onboarding_worker.web.events.request_body import Unacceptable, form_of

FRESH_SECONDS = 1.0
MOST = 200  # answers that are kept
SHORTEST, LONGEST = 3, 120  # characters of a reason
_ADDRESS = re.compile(r"\S@\S")
_NUMBER = re.compile(r"\d(?:[\s().+/-]?\d){6,}")
_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_LINK = re.compile(r"https?://", re.IGNORECASE)

log = logging.getLogger(__name__)

# Pages read in threads of their own: a slow report takes none from events and webhooks.
THREADS = 3
FILE_THREADS = 2  # and files in others: the report of a large batch takes none from pages
HTMX = "HX-Request"  # a live part asks
FOREVER = "public, max-age=31536000, immutable"
ENDED = "You were not logged in any more, so nothing was done. Log in and do it again."
TOO_OLD = "The form did not come from this page, or is too old. Open it again."
Handler = Callable[[Visit], Awaitable[web.StreamResponse]]
WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SharedReads:
    """Belongs to one loop."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._answers: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The answer for this key: of `read`, or of a reading that is under way or has just ended."""
        asked_at, task = self._answers.get(key, (0.0, None))
        if task is None or (task.done() and self._now() - asked_at > FRESH_SECONDS):
            task = asyncio.create_task(read())
            task.add_done_callback(lambda done: self._ended(key, done))
            self._answers.pop(key, None)
            self._answers[key] = (self._now(), task)
            while len(self._answers) > MOST:
                self._answers.popitem(last=False)
        # A viewer who goes away does not take the answer from the others.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """After a change: the next viewer sees it."""
        self._answers.clear()

    def _ended(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        if self._answers.get(key, (0.0, None))[1] is not task:
            return
        if task.cancelled() or task.exception() is not None:
            del self._answers[key]  # the next viewer asks again
        else:
            self._answers[key] = (self._now(), task)  # fresh from its end on


def why_unfit(reason: str) -> str:
    """What is wrong with the reason, for the person who wrote it; "" if nothing is."""
    if len(reason) < SHORTEST:
        return "Say in a few words why. The audit log keeps it."
    if len(reason) > LONGEST:
        return f"Say it in at most {LONGEST} characters."
    if _ADDRESS.search(reason) or _NUMBER.search(_DATE.sub("", reason)) or _LINK.search(reason):
        return "Leave out addresses, phone numbers and links: the audit log keeps the reason for ever."
    return ""


class Site:
    def __init__(self, shared: Shared, parts: Sequence[Part], *, key: str) -> None:
        """`key`: see `Visits`."""
        self._sources, self._parts, self._shared = Sources(shared.parts), parts, shared
        self._clock = shared.parts.clock
        self._pages = [page for part in parts for page in part.pages]
        self._actions = {action.name: action for part in parts for action in part.actions}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dashboard")
        self._file_threads = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="dashboard-files")
        self._in_thread = partial(in_thread_of, self._threads)
        self._in_file_thread = partial(in_thread_of, self._file_threads)
        self._reads, settings = SharedReads(), shared.parts.settings
        log_ins, way = LogIns(shared.parts.database), another_way(settings)
        self._visits = Visits(log_ins, settings, key, shared.parts.keyring, self._clock, self._in_thread)
        self._log_in = LogInPage(self._visits, shared.strangers, self._in_thread, shared.body_seconds, way is not None)
        self._log_in_routes = None if way is None else way.open(shared, self._log_in)

    def add_to(self, application: web.Application) -> None:
        router = application.router
        for one in self._pages:
            router.add_get(one.path, self._guarded(one.least, self._page(one)))
            if one.posted:
                router.add_post(one.path, self._guarded(one.least, self._page(one)))
        for part in self._parts:
            for file in part.downloads:
                router.add_get(file.path, self._guarded(file.least, self._download(file)))
            for arrival in part.arrivals:
                router.add_post(arrival.path, self._guarded(arrival.least, self._arrival(arrival)))
        router.add_get("/dashboard/do/{action}", self._guarded(Role.VIEWER, self._confirm))
        router.add_post("/dashboard/do/{action}", self._guarded(Role.VIEWER, self._act))
        router.add_get(LOG_IN, self._open(self._log_in.show))
        router.add_post(LOG_IN, self._open(self._log_in.enter))
        if self._log_in_routes is not None:
            router.add_get(LEAVE, self._open(self._log_in_routes.leave))
            router.add_get(self._log_in_routes.back_at, self._open(self._log_in_routes.back))
        router.add_post("/dashboard/log-out", self._open(self._log_in.leave))
        router.add_get("/dashboard/key/{key}", self._open(self._log_in.look))
        router.add_get("/dashboard/static/{name}", self._asset)
        router.add_get("/dashboard/{rest:.*}", self._guarded(Role.VIEWER, self._nothing))
        application.middlewares.append(_pages_for_browsers)
        application.on_cleanup.append(self._close)

    async def _close(self, _application: web.Application) -> None:
        if self._log_in_routes is not None:
            await self._log_in_routes.close()
        self._threads.shutdown()
        self._file_threads.shutdown()

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        headers = {"Cache-Control": FOREVER, "X-Content-Type-Options": "nosniff"}
        return web.Response(body=asset(name), content_type=ASSETS[name], charset="utf-8", headers=headers)

    def _open(self, handler: WebHandler) -> Any:
        """For persons who are not logged in."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Unacceptable as error:
                return _failed(error.status, "Not read", f"This request was not read: {error}.")
            except sa.exc.OperationalError:
                return _failed(503, "The database cannot be used", "Try again in a moment.")

        return handle

    def _guarded(self, least: Role, handler: Handler) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            why = self._shared.readiness.why_not
            if why is not None:
                return _failed(503, "The database is not ready", f"{why}.")
            by_itself = HTMX in request.headers
            visit = await self._visits.of(request, by_itself=by_itself)
            if visit is None:
                # A live part must not show the form in its place: the whole page is asked for again.
                if by_itself:
                    return web.Response(headers={"HX-Refresh": "true", "Cache-Control": "no-store"})
                if request.method == "POST":  # a person who has just agreed to something must not take it for done
                    return self._log_in.form(request, to="/", said=ENDED, status=403)
                to = request.path_qs
                return see(LOG_IN if to == "/" else f"{LOG_IN}?{urlencode({'to': to})}")
            if not visit.person.may(least):
                role = f"This page needs the role {least.value}; yours is {visit.person.role.value}."
                return self._sorry(visit, 403, "Not for your role", role)
            try:
                return await handler(visit)
            except Elsewhere as there:
                return see(str(there))
            except NotThere as error:
                return self._sorry(visit, 404, "Not found", str(error))
            except Refused as error:
                return self._sorry(visit, 409, error.title, str(error), local_path(error.back), error.button)
            except CannotDecrypt:
                return self._sorry(visit, 409, Refused.title, "No key decrypts what is stored of this.")

        return self._open(handle)

    def _page(self, one: Page) -> Handler:
        async def show(visit: Visit) -> web.StreamResponse:
            request = visit.request
            values = {**request.query, **request.match_info}
            if request.method == "POST":
                form = await form_of(request, seconds=self._shared.body_seconds)
                if not is_from_here(request.headers) or not visit.has_sent(form):
                    return self._sorry(visit, 403, "Not done", TOO_OLD)
                values |= {name: value for name, value in form.items() if name != "token"}
            posted = request.method == "POST"
            asked = Asked(values, visit.person, self._clock(), posted, "" if posted else visit.led_here)
            # In the key the values as they are: two requests share an answer only if they are the same.
            key = (one.path, tuple(sorted(values.items())), None if one.shared else visit.secret)

            async def read() -> Any:
                return {"read_at": asked.now, **await self._in_thread(one.read, self._sources, asked)}

            facts = await (self._reads.get(key, read) if one.shared else read())
            if one.live and HTMX in request.headers:
                return page(one.live, **self._common(visit), **facts)
            return self._shown(visit, one.template, title=one.title, live=one.live, **facts)

        return show

    def _download(self, one: Download) -> Handler:
        async def give(visit: Visit) -> web.StreamResponse:
            values = {**visit.request.query, **visit.request.match_info}
            asked = Asked(values, visit.person, self._clock(), led_here=visit.led_here)
            file = await self._in_file_thread(one.read, self._sources, asked)
            return await send(visit.request, file, self._in_file_thread)

        return give

    def _arrival(self, one: Arrival) -> Handler:
        async def take(visit: Visit) -> web.StreamResponse:
            if not is_from_here(visit.request.headers):
                return self._sorry(visit, 403, "Not done", TOO_OLD)
            asked = Asked({}, visit.person, self._clock())

            def begin(token: str, name: str) -> Any:
                if not visit.has_sent({"token": token}):
                    raise Refused(TOO_OLD)
                return one.begin(self._sources, asked, name)

            there = await receive(visit.request, begin, self._in_file_thread, most=one.most)
            self._reads.forget()
            return see(local_path(there))

        return take

    async def _nothing(self, _visit: Visit) -> web.StreamResponse:
        raise NotThere("There is no such page.")

    async def _confirm(self, visit: Visit) -> web.StreamResponse:
        action, asked = self._asked(visit, visit.request.query)
        return self._ask(visit, action, await self._of_action(action, asked, action.plan), asked)

    async def _act(self, visit: Visit) -> web.StreamResponse:
        form = await form_of(visit.request, seconds=self._shared.body_seconds)
        if not is_from_here(visit.request.headers) or not visit.has_sent(form):
            return self._sorry(visit, 403, "Not done", TOO_OLD)
        action, asked = self._asked(visit, form)
        plan: Plan = await self._of_action(action, asked, action.plan)
        reason = asked.text("reason")
        wrong = why_unfit(reason)
        if not wrong and not plan.is_agreed(form.get("seen", "")):
            wrong = "This has changed since you opened the page. Read it again before you agree."
        if wrong:
            return self._ask(visit, action, plan, asked, wrong=wrong)
        done: Done = await self._of_action(action, asked, action.carry_out, reason)
        self._reads.forget()
        for one in self._pages:
            one.forget()
        for wake_up in done.due:
            self._shared.wake(wake_up)
        log.info("%s: %s", visit.person.actor, action.command or action.name)
        answer = see(local_path(action.back(asked)))
        say(answer, visit, done.said)
        return answer

    async def _of_action(self, action: Action, asked: Asked, work: Callable[..., Any], *more: str) -> Any:
        try:
            return await self._in_thread(work, self._sources, asked, *more)
        except Refused as error:
            error.back = action.back(asked)
            raise

    def _asked(self, visit: Visit, values: Mapping[str, str]) -> tuple[Action, Asked]:
        action = self._actions.get(visit.request.match_info["action"])
        if action is None:
            raise NotThere("There is no such action.")
        if not visit.person.name:
            raise Refused("You came with the key to look: nothing can be changed. Log in as a user for that.")
        if not visit.person.may_change(action.least):
            raise Refused(f"This needs the role {action.least.value}; yours is {visit.person.role.value}.")
        return action, Asked(dict(values), visit.person, self._clock())

    def _ask(self, visit: Visit, action: Action, plan: Plan, asked: Asked, *, wrong: str = "") -> web.StreamResponse:
        # A link of a stranger must not fill in the stranger's own address, nor a reason: one press would send it there.
        posted = visit.request.method == "POST"
        given = {one.name: asked.text(one.name, most=one.most) if posted or one.linked else "" for one in plan.fields}
        typed = {"token", "seen", "seen_at", "reason", *given}
        hidden = {name: value for name, value in asked.values.items() if name not in typed}
        shown: dict[str, Any] = {"action": action, "plan": plan, "hidden": hidden, "given": given, "wrong": wrong}
        shown |= {"back": local_path(action.back(asked)), "reason": asked.text("reason") if posted else ""}
        return self._shown(visit, "confirm.html", status=422 if wrong else 200, title=plan.title, **shown)

    def _sorry(
        self, visit: Visit, status: int, title: str, text: str, back: str = "/", button: str = "Back"
    ) -> web.StreamResponse:
        if HTMX in visit.request.headers:
            return _failed(status, title, text)
        return self._shown(visit, "sorry.html", status=status, title=title, text=text, back=back, button=button)

    def _common(self, visit: Visit) -> dict[str, Any]:
        """What each template has."""
        return {"person": visit.person, "now": self._clock(), "here": visit.request.path_qs, "Role": Role}

    def _shown(self, visit: Visit, template: str, *, status: int = 200, **shown: Any) -> web.Response:
        said = what_was_said(visit)
        pages = [(one.path, one.navigation) for one in self._pages if one.navigation and visit.person.may(one.least)]
        common = self._common(visit) | {"navigation": pages, "token": form_token(visit.secret), "said": said}
        answer = page(template, status=status, **(common | shown))
        if said:
            drop_cookie(answer, visit.request, of=SAID)
        if visit.has_entered:
            drop_cookie(answer, visit.request, of=ENTERED)
        return answer


def _failed(status: int, title: str, text: str) -> web.Response:
    """A page for a person who may not be logged in."""
    return page("failed.html", status=status, title=title, text=text, missing=status == HTTPStatus.NOT_FOUND)


@web.middleware
async def _pages_for_browsers(request: web.Request, handler: WebHandler) -> web.StreamResponse:
    """A person who typed a wrong address gets a page; programs, which ask for none, get the problem as ever."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        if "text/html" not in request.headers.get("Accept", ""):
            raise
        return _failed(404, "Not found", "There is no page at this address.")
