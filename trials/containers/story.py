"""The steps of the trial, in groups: what the page says, then what a deployment meets. Each raises Wrong or Failed."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial

from trials.containers import kept_secret, outages, pods, sizes
from trials.containers.arguments import unused
from trials.containers.browser import Browser, answer, visiting
from trials.containers.page import commands, first_block
from trials.containers.podman import facts, looked_at
from trials.containers.stage import Group, Row, Stage, Step, how_of, must, until

PAGE = "docs/how-to/compose.md"
CERTIFICATES = {"/etc/ssl/certs/ca-certificates.crt"}  # Debian has one by this name


def image(_stage: Stage) -> Iterator[Step]:
    yield Step("what runs is the user 10001, and `production` has no sandbox", _has_what_it_should)
    yield Step("no image has a file of this machine's settings", _has_nothing_of_this_machine)
    yield Step("`onboard doctor` in the worker finds no failure", _doctor)


def _doctor(stage: Stage) -> None:
    found = stage.project.exec("worker", "onboard", "doctor", check=False).splitlines()
    failures = [line for line in found if line.startswith("failure")]
    must(found and not failures, "; ".join(failures))
    stage.note(found[-1])


def _has_what_it_should(stage: Stage) -> None:
    production, sandbox = stage.project.image("worker"), stage.project.image("sandbox")
    must(facts("image", production)["Config"]["User"] == "10001:10001", "the image's user is another one")
    stage.note(f"{looked_at(production, 'onboard', '--version')}, {facts('image', production)['Size'] / 1e6:.0f} MB")
    asks = "import importlib.util as u; print(u.find_spec('onboarding_sandbox') is not None)"
    found = [looked_at(one, "python", "-c", asks) for one in (production, sandbox)]
    must(found == ["False", "True"], f"the sandbox in production and in sandbox: {found}")


def _has_nothing_of_this_machine(stage: Stage) -> None:
    for one in (stage.project.image("worker"), stage.project.image("sandbox")):
        # An empty file or folder is where a setting was mounted for the build.
        asks = "import os, sys; print(*(p for p in sys.argv[1:] if os.path.isfile(p) and os.path.getsize(p)))"
        kept = looked_at(one, "python", "-c", asks, *(path for path in stage.mounts if path not in CERTIFICATES))
        must(not kept, f"{one} has {kept}")


def page(stage: Stage) -> Iterator[Step]:
    """The first commands of the page, as they stand there."""
    for line in first_block(stage.checkout / PAGE):
        yield Step(line, partial(_type, line=line))
    yield Step("each row has its messages, and they are in the mailbox", _mails_are_there)
    yield Step("docker compose run --rm report onboard report latest", _report)
    yield Step("what of docker-compose.yml was not used is printed", _unused)


def _type(stage: Stage, line: str) -> None:
    if line.startswith("make "):
        stage.note("`make images` asks a registry; in its place .env has images of Debian's packages")
        stage.make(*(word for word in line.split()[1:] if word != "images"))
        stage.open_project()
    else:
        said = stage.project.compose(line)
        if "status" in line:
            stage.note(" | ".join(said.split("\n")[:3]).strip())


def _mails_are_there(stage: Stage) -> None:
    rows = stage.sent()
    states = Counter(row["state"] for row in rows)
    must(states == {"invited": 20}, f"the rows are {dict(states)}")
    mails = stage.mails()
    must(len(mails) == len({mail["to"][0] for mail in mails}), "a customer has two mails")
    links = [mail for mail in mails if "http://127.0.0.1:9200/verify/" in str(mail["text"])]
    must(len(links) == len(mails), "a mail leads elsewhere than to the sandbox's page")
    stage.note(f"{len(rows)} rows, {len(mails)} mails; by account {dict(Counter(row['account'] for row in rows))}")


def _report(stage: Stage) -> None:
    said = stage.project.compose("docker compose run --rm report onboard report latest")
    must(said.count("\n") == 21, f"the report has {said.count(chr(10))} lines")


def _unused(stage: Stage) -> None:
    stage.note("not used: " + ", ".join(unused(stage.project.everything)))
    stage.note("mapped: " + ", ".join(f"port {port} to {here}" for port, here in stage.project.place.ports.items()))


# What the report says then. FrankieOne does not name its decision: docs/reference/webhooks.md.
RESULTS = {"kyc": "approved", "kyb": "approved", "au": "unknown"}


def customer(_stage: Stage) -> Iterator[Step]:
    for account, result in RESULTS.items():
        yield Step(
            f"a customer of {account} presses the link and passes: completed, {result}",
            partial(_passes, account=account),
        )


def _passes(stage: Stage, *, account: str) -> None:
    listed = csv.DictReader((stage.folder / "examples/customers.csv").open(encoding="utf-8"))
    mailed = {line["customer_id"]: line["email"] for line in listed if line["email"]}
    rows = [row for row in stage.rows("1") if row["account"] == account and row["customer_id"] in mailed]
    name = rows[0]["customer_id"]
    link = stage.link_of(mailed[name])
    shown = answer(link)
    must(shown.status == 200 and "Play what the customer does" in shown.text, f"the page answers {shown.status}")
    answer(link, {"does": "pass"})
    if account == "kyb":  # a person at the provider looks at a company first, for hours: here for a second
        decide = {"session": link.rpartition("/")[2], "does": "finish", "review": 1}
        answer(stage.project.address("9200") + "/_sandbox/customers", json.dumps(decide).encode())

    def ended() -> Row | None:
        found = next(one for one in stage.rows("1") if one["customer_id"] == name)
        return found if found["state"] == "completed" else None

    found = until(ended, "the customer's row is completed", 60)
    must(found["result"] == RESULTS[account], f"the result is {found['result']}")
    stage.note(f"{name}: {found['state']}, {found['result']}")


def dashboard(_stage: Stage) -> Iterator[Step]:
    yield Step("nobody sees the dashboard without a log-in", _is_closed)
    yield Step("a user who is added while it runs logs in, and sees each page", _log_in)


def _is_closed(stage: Stage) -> None:
    shown = answer(stage.project.address("8080") + "/")
    must(shown.path.startswith("/dashboard/log-in"), f"the first page is {shown.path}")
    must("customers.csv" not in shown.text, "the page shows a batch")


def _log_in(stage: Stage) -> None:
    stage.user(*commands(stage.checkout / PAGE, "onboard users add"))

    async def look(browser: Browser) -> list[str]:
        entered = await browser.log_in("ona", stage.password)
        if entered.path.startswith("/dashboard/log-in"):
            return []
        must("customers.csv" in entered.text, "the first page does not show the batch")
        paths = sorted({one for one in entered.links if re.fullmatch(r"/dashboard/[a-z-]+", one)})
        seen = {path: (await browser.get(path)).status for path in paths}
        must({*seen.values()} == {200}, f"pages answer {seen}")
        return [entered.path, *seen]

    seen = until(lambda: visiting(stage.project.address("8080"), look), "the new user can log in", 30)
    stage.note("seen: " + " ".join(seen))


def again(_stage: Stage) -> Iterator[Step]:
    yield Step("docker compose down, and up again: nothing is lost", _down_and_up)
    yield Step("docker compose up --build --detach --scale worker=4: four workers share a list", _four_workers)


def _down_and_up(stage: Stage) -> None:
    count = "select count(*), count(distinct customer_id) from job"
    before = (stage.ask(count), sorted((row["customer_id"], row["state"], row["result"]) for row in stage.rows("1")))
    (down,) = commands(stage.checkout / PAGE, "docker compose down")
    stage.project.compose(down)
    must(not stage.project.containers(), "a container is left")
    stage.project.compose("docker compose up --build --detach")
    after = (stage.ask(count), sorted((row["customer_id"], row["state"], row["result"]) for row in stage.rows("1")))
    must(before == after, f"before {before[0]}, after {after[0]}")
    stage.onboard("import", stage.write_list("after.csv", 5, "after"))
    states = Counter(row["state"] for row in stage.sent())
    must(states == {"invited": 5}, f"a new list: {dict(states)}")
    stage.note(f"{before[0].replace('|', ' jobs of ')} customers")


def _four_workers(stage: Stage) -> None:
    (line,) = commands(stage.checkout / PAGE, "--scale")
    stage.project.compose(line)
    until(lambda: stage.onboard("status").count("worker, process") == 4, "four workers work", 60)
    stage.onboard("import", stage.write_list("four.csv", 100, "four"))
    states = Counter(map(how_of, stage.sent()))
    must(states == {"invited": 100}, f"the rows are {dict(states)}")


GROUPS: dict[str, Group] = {
    "page": page,
    "image": image,
    "customer": customer,
    "dashboard": dashboard,
    "kills": outages.kills,
    "upgrade": outages.upgrade,
    "large": sizes.large,
    "again": again,
    "pods": pods.pods,
    "secrets": kept_secret.searched,
}
