"""deploy/kubernetes: valid against the API's schemas, confined, in agreement with the image and config/."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml

from clients.download_model import CHECKPOINTS
from gateway.observe.metrics import PREFIX
from gateway.observe.stats import ADMISSION_GAUGES
from gateway.settings import Settings, load_settings
from scripts.serve import settings as serve_settings
from scripts.serve.arguments import parse_options
from scripts.serve.model_table import read_table
from tests.deploy.images import ROOT, image_copies, image_directories, image_user
from tests.deploy.manifests import (
    BUILDS,
    FOLDER,
    built,
    containers,
    of_kind,
    pods,
    server_containers,
    variables,
)

pytestmark = pytest.mark.slow

OF_OPERATORS = {"ServiceMonitor", "InferenceService"}  # no schema to hold them against
CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.mark.parametrize("folder", BUILDS)
def test_the_resources_follow_the_api(folder: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for resource in built(folder):
        if resource["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(resource, "1.33", strict=True)


@pytest.mark.parametrize("folder", BUILDS)
def test_every_pod_passes_the_restricted_standard(folder: str) -> None:
    """The namespace enforces it, so a pod that did not would never start."""
    user, group = (int(number) for number in image_user().split(":"))
    for pod in pods(folder):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in containers(pod):
            assert container["securityContext"] == CONFINED


@pytest.mark.parametrize("folder", BUILDS)
def test_every_container_has_limits_and_a_named_image(folder: str) -> None:
    for pod in pods(folder):
        for container in containers(pod):
            limits = container["resources"]["limits"]
            assert {"cpu", "memory"} <= limits.keys() & container["resources"]["requests"].keys()
            assert container["image"].startswith("whisper:") or not shutil.which("kubectl")


@pytest.mark.parametrize("folder", BUILDS)
def test_every_server_has_probes_on_what_it_serves(folder: str) -> None:
    for resource in built(folder):
        if resource["kind"] not in ("Deployment", "InferenceService"):
            continue
        spec = resource["spec"]
        pod = spec["template"]["spec"] if resource["kind"] == "Deployment" else spec["predictor"]
        for container in pod["containers"]:
            assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
            assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
            assert container["startupProbe"]["httpGet"]["path"].startswith("/health/")


def test_the_worker_is_probed_by_its_canary_and_ends_after_the_gateway() -> None:
    worker = server_containers()["worker"]
    assert worker["restartPolicy"] == "Always"  # a native sidecar
    for probe in ("startupProbe", "livenessProbe"):
        command = worker[probe]["exec"]["command"]
        assert command[:3] == ["python", "-m", "scripts.healthcheck"]
        assert worker[probe]["timeoutSeconds"] > float(command[-1])
    model = serve_settings.read_model_config(ROOT / "config" / "model-config.yaml")
    alive = worker["livenessProbe"]
    assert alive["failureThreshold"] * alive["timeoutSeconds"] >= model["responseTimeout"]


@pytest.mark.parametrize("folder", BUILDS)
def test_the_grace_period_covers_the_drain(folder: str) -> None:
    for pod in pods(folder):
        for container in pod["containers"]:
            drain = float(variables(container).get("GATEWAY_SERVER__DRAIN_S", 0))
            pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert pod.get("terminationGracePeriodSeconds", 1e9) >= drain + pause + 30


@pytest.mark.parametrize("folder", BUILDS)
def test_writable_mounts_are_the_images_directories_and_never_the_weights(folder: str) -> None:
    for pod in pods(folder):
        names = {volume["name"] for volume in pod["volumes"]}
        for container in containers(pod):
            mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
            assert {each["name"] for each in mounts.values()} <= names
            writable = {path for path, each in mounts.items() if not each.get("readOnly")}
            if not container["name"].startswith("download"):
                assert writable <= {"/tmp", *image_directories()}
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)


def test_the_worker_can_write_where_torchserve_does() -> None:
    mounts = {each["mountPath"] for each in server_containers()["worker"]["volumeMounts"]}
    assert {"/tmp", "/app/tmp", "/app/logs", "/app/model-store"} <= mounts


def test_a_rollout_may_take_as_long_as_the_slowest_start() -> None:
    """A deadline below it calls a rollout failed whose pods still load."""
    probe = server_containers()["worker"]["startupProbe"]
    start_s = probe["failureThreshold"] * probe["periodSeconds"]
    download_s = 900
    assert next(of_kind("Deployment"))["spec"].get("progressDeadlineSeconds", 600) >= start_s + download_s


@pytest.mark.parametrize("folder", BUILDS)
def test_the_variables_are_settings_of_the_gateway(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod in pods(folder):
        for container in containers(pod):
            for name, value in variables(container).items():
                if name.startswith("GATEWAY_"):
                    monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.access.keys_file
    assert str(settings.media.spool_dir) in image_directories()


@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/gpu"])
def test_the_weights_are_downloaded_once_and_verified_by_every_pod(folder: str) -> None:
    job = next(of_kind("Job", folder))["spec"]["template"]["spec"]["containers"][0]
    verify = server_containers(folder)["verify"]
    for container in (job, verify):
        program, script, model = container["command"][:3]
        assert (program, model) == ("python", "$(WHISPER_MODEL)")
        assert script.partition("/")[0] in image_copies()
        assert (ROOT / script).is_file()
    assert verify["volumeMounts"][0]["readOnly"] is True
    if shutil.which("kubectl"):
        assert next(of_kind("ConfigMap", folder))["data"]["WHISPER_MODEL"] in CHECKPOINTS


@pytest.mark.parametrize("folder", ["overlays/cpu", "overlays/gpu"])
def test_no_worker_starts_before_its_weights_are_verified(folder: str) -> None:
    """Init containers run in their order, and a strategic merge may change it."""
    names = list(server_containers(folder))
    assert names == ["verify", "worker", "gateway"] or not shutil.which("kubectl")


def test_several_models_are_downloaded_verified_and_known_to_the_gateway() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("needs kubectl to apply the patches")
    folder = "overlays/several"
    table = read_table(FOLDER / folder / "models.yml")
    assert table is not None
    maps = {
        each["metadata"]["name"].rpartition("-")[0]: each["data"] for each in of_kind("ConfigMap", folder)
    }
    assert yaml.safe_load(maps["whisper-models"]["models.yaml"])["models"].keys() == table.rows.keys()
    server = server_containers(folder)
    assert list(server) == ["verify", "verify-english", "worker", "gateway"]
    job = next(of_kind("Job", folder))["spec"]["template"]["spec"]
    fetching = [each["command"][2] for each in containers(job)]
    verified = [server[name]["command"][2] for name in ("verify", "verify-english")]
    default = maps["whisper-model"]["WHISPER_MODEL"]
    for names in (fetching, verified):
        found = {default if name == "$(WHISPER_MODEL)" else name for name in names}
        assert found == {row.checkpoint for row in table.rows.values()}
    options = parse_options(server["worker"]["args"], variables(server["worker"]), ROOT, ROOT)
    assert options.models == (), "the table counts"
    settings = load_settings(variables(server["gateway"]))
    others = {name: row.model_dump(include={"languages", "fallback"}) for name, row in table.others.items()}
    assert others == {
        name: model.model_dump(include={"languages", "fallback"})
        for name, model in settings.upstream.models.items()
    }


def test_a_gpu_pod_asks_for_one_gpu_for_its_worker() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("needs kubectl to apply the patch")
    asked = {
        name: each["resources"]["limits"].get("nvidia.com/gpu")
        for name, each in server_containers("overlays/gpu").items()
    }
    assert asked == {"verify": None, "worker": "1", "gateway": None}


def test_the_autoscaler_scales_the_deployment_and_nothing_fixes_its_replicas() -> None:
    scaler = next(of_kind("HorizontalPodAutoscaler"))["spec"]
    deployment = next(of_kind("Deployment"))
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    assert scaler["minReplicas"] >= 2  # one may go down for a node's maintenance


def test_the_autoscalers_metrics_are_made_from_the_gateways_own() -> None:
    scaler = next(of_kind("HorizontalPodAutoscaler"))["spec"]
    asked = {each["pods"]["metric"]["name"]: each["pods"]["target"] for each in scaler["metrics"]}
    rules = yaml.safe_load((FOLDER / "adapter.yaml").read_text())["rules"]["custom"]
    assert set(asked) == {rule["name"]["as"] for rule in rules}
    known = {f"{PREFIX}_{name}" for name, _ in ADMISSION_GAUGES.values()}
    used = {name for rule in rules for name in re.findall(r"whisper_\w+", rule["seriesQuery"])}
    used |= {name for rule in rules for name in re.findall(r"whisper_\w+", rule["metricsQuery"])}
    assert used and used <= known
    queue = float(asked["whisper_gateway_admitted_audio_seconds"]["averageValue"])
    assert queue < Settings().admission.max_queued_audio_s  # more pods come before the first refusal


def test_no_secret_stands_in_the_manifests() -> None:
    for file in FOLDER.rglob("*.yaml"):
        assert "kind: Secret" not in file.read_text(), file
