"""A list of 100 MB, compressed, from standard input and in the browser; and its reports."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

from trials.containers.browser import Browser, visiting
from trials.containers.page import commands
from trials.containers.podman import podman
from trials.containers.stage import Stage, Step, must, until

ROWS = 140_000
BYTES = 100_000_000
TITLES = "customer_id,email,country,first_name,last_name,address"


def large(stage: Stage) -> Iterator[Step]:
    yield Step("a list of 100 MB is imported, compressed", _compressed)
    yield Step("the same list is checked, from standard input", _from_standard_input)
    yield Step("its reports are written, as a page and as a workbook", _report)
    yield Step("a third is uploaded in the browser, and checked by a worker", _upload)


def _write(stage: Stage, name: str, head: str) -> Path:
    """The details are long, so that few rows are many bytes."""
    file = stage.folder / "examples" / name
    details = f'LT,A{"n" * 96},B{"n" * 96},"{"Long Street " * 40}1'
    with file.open("w", encoding="utf-8") as stream:
        stream.write(f"{TITLES}\n")
        for number in range(ROWS):
            stream.write(f'{head}-{number},{head}.{number}@example.com,{details}, floor {number}"\n')
    must(file.stat().st_size > BYTES, f"the list has {file.stat().st_size} bytes")
    return file


def _compressed(stage: Stage) -> None:
    file = _write(stage, "large.csv", "large")
    packed = file.with_suffix(".csv.gz")
    with file.open("rb") as plain, gzip.open(packed, "wb", compresslevel=1) as out:
        while chunk := plain.read(1 << 20):
            out.write(chunk)
    said = stage.onboard("import", f"/lists/{packed.name}", "--first", "5", within=600)
    rows = int(stage.ask("select count(*) from job where batch_id = (select max(id) from batch)"))
    must(rows == ROWS, f"{rows} rows were imported")
    sizes = [f"{one.stat().st_size / 1e6:.0f} MB" for one in (file, packed)]
    stage.note(f"{sizes[0]}, compressed {sizes[1]}: {said.strip().splitlines()[-1]}")


def _from_standard_input(stage: Stage) -> None:
    with (stage.folder / "examples/large.csv").open("rb") as content:
        worker = stage.project.place.container("worker")
        ended = podman(
            "exec", "--interactive", worker, "onboard", "check", "-", "--json", within=600, check=False, stdin=content
        )
    must(ended.stdout.startswith("{"), ended.stderr[-500:])
    rows = json.loads(ended.stdout)["rows"]
    must(rows["total"] == ROWS, f"the rows are {rows}")
    stage.note(f"{rows}")


def _report(stage: Stage) -> None:
    worker = stage.project.place.container("worker")
    for form, more in (("html", ()), ("xlsx", ("--with-details",))):
        written = f"/var/tmp/report.{form}"  # noqa: S108 -- the container's
        stage.onboard("report", "latest", *more, "--out", written, within=600)
        said = podman("exec", worker, "sh", "-c", f"wc -c < {written} && rm {written}")
        stage.note(f"{form}: {int(said.stdout) / 1e6:.0f} MB")


def _upload(stage: Stage) -> None:
    file = _write(stage, "uploaded.csv", "uploaded")
    stage.user(*commands(stage.checkout / "docs/how-to/compose.md", "onboard users add"))

    async def give(browser: Browser) -> str:
        await browser.log_in("ona", stage.password)
        given = await browser.upload(file)
        must(given.status == 200, f"the upload is answered with {given.status}: {given.words[:300]}")
        return given.path

    path = visiting(stage.project.address("8080"), give)

    async def look(browser: Browser) -> str:
        await browser.log_in("ona", stage.password)
        words = (await browser.get(path)).words
        found = re.search(r"[^.]{0,60}140,000[^.]{0,60}", words)
        return found[0] if found else ""

    seen = until(lambda: visiting(stage.project.address("8080"), look), "the list is checked", 300)
    stage.note(seen)
