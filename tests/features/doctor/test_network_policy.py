"""The network policy in deploy/ lets through what the configuration there connects to."""

from pathlib import Path

from onboarding_worker.features.doctor.destinations import destinations
from onboarding_worker.settings.load import load
from onboarding_worker.settings.needs import EVERYTHING
from tests.deploy.test_kubernetes import given, of_kind, pods


def test_the_policy_lets_through_the_ports_of_the_configuration_and_no_others(tmp_path: Path):
    settings = load(given(tmp_path, pods()["worker"]), needs=EVERYTHING, environ={})
    asked = {one.port for one in destinations(settings)}
    rules = [rule for policy in of_kind("NetworkPolicy").values() for rule in policy.get("egress", ())]
    allowed = {port["port"] for rule in rules for port in rule["ports"]} - {53}

    assert allowed == asked
    assert set(of_kind("NetworkPolicy")["all"]["policyTypes"]) == {"Ingress", "Egress"}
