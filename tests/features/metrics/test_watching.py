"""The dashboard and the alert rules name the metrics that there are."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from onboarding_worker.core.model.metrics import Type
from onboarding_worker.features.metrics.gauges import READ
from onboarding_worker.features.metrics.metrics_page import COUNTED, PREFIX
from tests.suite.packages import ROOT
from tests.suite.some import some
from tests.suite.waiting import ENDS_WITHIN

RULES = ROOT / "deploy/prometheus/alerts.yml"
ALL = (*READ, *COUNTED)
SHOWN = {PREFIX + metric.name for metric in ALL if metric.type is not Type.HISTOGRAM} | {
    f"{PREFIX}{metric.name}_{part}"
    for metric in ALL
    if metric.type is Type.HISTOGRAM
    for part in ("bucket", "sum", "count")
}
LABELS = {label for metric in ALL for label in metric.labels} | {"instance", "job", "le"}


def rules() -> list[dict]:
    found = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert found
    return found


def dashboard() -> list[str]:
    panels = json.loads((ROOT / "deploy/grafana/onboarding.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def named(expressions: list[str]) -> set[str]:
    return {name for text in expressions for name in re.findall(rf"{PREFIX}\w+", text)}


@pytest.mark.parametrize("expressions", [[rule["expr"] for rule in rules()], dashboard()], ids=["rules", "dashboard"])
def test_every_metric_and_label_that_is_asked_for_is_there(expressions):
    assert named(expressions)
    assert named(expressions) - SHOWN == set()
    asked = {label for text in expressions for label in re.findall(r"[{,]\s*(\w+)\s*[=!]", text)}
    grouped = {
        label
        for text in expressions
        for names in re.findall(r"(?:by|without) \(([^)]*)\)", text)
        for label in re.findall(r"\w+", names)
    }
    assert asked | grouped <= LABELS


def test_the_dashboard_shows_every_metric():
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named(dashboard())}
    assert {PREFIX + metric.name for metric in ALL} - shown == set()


def test_each_rule_has_a_severity_a_reason_and_a_line_for_who_is_on_call(subtests):
    for rule in some(rules()):
        with subtests.test(case=rule["alert"]):
            assert rule["labels"]["severity"] in ("page", "ticket")
            page, _, anchor = rule["annotations"]["runbook"].partition("#")
            headings = re.findall(r"^### (\w+)\n\n\S", (ROOT / page).read_text(), re.MULTILINE)
            assert rule["alert"] in headings
            assert anchor == rule["alert"].lower()
            assert re.search(rf"# [^\n]+\n      - alert: {rule['alert']}\n", RULES.read_text())


@pytest.mark.parametrize(
    "check", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]], ids=lambda check: check[0]
)
def test_promtool_accepts_the_rules(check):
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed (on Debian: the package prometheus)")
    ended = subprocess.run(
        [tool, *check], cwd=RULES.parent, capture_output=True, text=True, timeout=ENDS_WITHIN, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
