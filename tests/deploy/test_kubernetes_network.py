"""deploy/kubernetes: ports, selectors and policies find each other, and nothing else is reachable."""

from __future__ import annotations

import pytest
import yaml

from gateway.settings import Settings
from scripts.serve import settings as serve_settings
from scripts.serve.addresses import Address
from scripts.serve.arguments import parse_options
from tests.deploy.images import ROOT
from tests.deploy.manifests import BUILDS, FOLDER, built, of_kind, server_containers, variables

pytestmark = pytest.mark.slow

PROPERTIES = serve_settings.read_properties(ROOT / "config" / "config.properties")


def test_ports_are_those_of_the_configuration() -> None:
    ports = {
        port["name"]: port["containerPort"]
        for each in server_containers().values()
        for port in each.get("ports", [])
    }
    metrics = Address.parse("metrics_address", PROPERTIES["metrics_address"]).port
    assert ports == {"http": Settings().server.port, "metrics": metrics}
    for service in of_kind("Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports.get(port["targetPort"], port["targetPort"])
            assert port["port"] in ports.values()


def test_nothing_looks_for_a_port_of_the_sidecar_by_name() -> None:
    """Some network plugins and service meshes look for names among the ordinary containers only."""
    names = {port["name"] for port in server_containers()["worker"]["ports"]}
    targets = {port["targetPort"] for service in of_kind("Service") for port in service["spec"]["ports"]}
    for folder in BUILDS:
        for policy in of_kind("NetworkPolicy", folder):
            rules = [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
            targets |= {port["port"] for rule in rules for port in rule["ports"]}
    assert names and not names & targets


@pytest.mark.parametrize("folder", BUILDS)
def test_every_pod_has_a_network_policy(folder: str) -> None:
    selectors = [each["spec"]["podSelector"]["matchLabels"] for each in of_kind("NetworkPolicy", folder)]
    for resource in built(folder):
        if resource["kind"] in ("Deployment", "Job"):
            labels = resource["spec"]["template"]["metadata"]["labels"]
        elif resource["kind"] == "InferenceService":  # the label is KServe's
            labels = {"serving.kserve.io/inferenceservice": resource["metadata"]["name"]}
        else:
            continue
        assert any(selector.items() <= labels.items() for selector in selectors), resource["metadata"]["name"]


def test_every_selector_finds_the_servers_pods() -> None:
    labels = next(of_kind("Deployment"))["spec"]["template"]["metadata"]["labels"]
    selectors = [service["spec"]["selector"] for service in of_kind("Service")]
    selectors += [next(of_kind("PodDisruptionBudget"))["spec"]["selector"]["matchLabels"]]
    selectors += [next(of_kind("Deployment"))["spec"]["selector"]["matchLabels"]]
    assert len(selectors) == 4
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_the_monitor_scrapes_ports_of_the_metrics_service() -> None:
    monitor = next(of_kind("ServiceMonitor"))["spec"]
    service = next(
        each
        for each in of_kind("Service")
        if monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    )
    assert {each["port"] for each in monitor["endpoints"]} == {
        port["name"] for port in service["spec"]["ports"]
    }


def test_torchserve_is_reachable_from_the_pod_only_but_for_its_metrics() -> None:
    worker = server_containers()["worker"]
    options = parse_options([], variables(worker), ROOT, ROOT)
    assert (options.host, options.metrics_host) == ("127.0.0.1", "0.0.0.0")
    assert options.token_auth and options.no_gateway
    assert options.management_host is None
    assert options.workers == 1
    policy = next(each for each in of_kind("NetworkPolicy") if each["metadata"]["name"] == "whisper-server")
    allowed = [{port["port"] for port in rule["ports"]} for rule in policy["spec"]["ingress"]]
    assert allowed == [{8000}, {8000, 8082}]
    assert policy["spec"]["egress"] == []
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}


def test_the_ingress_takes_what_the_gateway_takes_and_shows_no_metrics() -> None:
    ingress = yaml.safe_load((FOLDER / "ingress.yaml").read_text())
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(ingress, "1.33", strict=True)
    prefix = "nginx.ingress.kubernetes.io/"
    told = {name.removeprefix(prefix): value for name, value in ingress["metadata"]["annotations"].items()}
    settings = Settings()
    assert int(told["proxy-body-size"].rstrip("m")) * 2**20 > settings.media.max_upload_bytes
    assert float(told["proxy-read-timeout"]) >= settings.admission.default_deadline_s
    assert told["proxy-buffering"] == "off"  # streams
    paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    services = {each["metadata"]["name"]: each["spec"]["ports"] for each in of_kind("Service")}
    for path in paths:
        service = path["backend"]["service"]
        assert service["port"]["name"] in [port["name"] for port in services[service["name"]]]
    open_to = {path["path"] for path in paths if path["pathType"] == "Prefix"}
    assert open_to == {"/v1", "/page"}
