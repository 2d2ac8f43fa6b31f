"""deploy/kubernetes/bulk: the job is a command of the image, its pods are confined and reach the gateways."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from bulk.arguments import parse
from gateway.settings import Settings
from scripts.requirements import pins
from tests.deploy.images import ROOT, STEPS, image_copies, image_user
from tests.deploy.manifests import FOLDER, server_containers

RESOURCES = [
    resource
    for name in ("rayjob", "network")
    for resource in yaml.safe_load_all((FOLDER / "bulk" / f"{name}.yaml").read_text())
]
JOB = RESOURCES[0]
CLUSTER = JOB["spec"]["rayClusterSpec"]
PODS = [group["template"] for group in (CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"])]


def test_the_entry_point_is_a_command_of_the_image() -> None:
    program, option, module, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert (program, option, module) == ("python", "-m", "bulk") and "bulk" in image_copies()
    given = parse(arguments)
    service = yaml.safe_load((FOLDER / "base" / "service.yaml").read_text().split("---")[0])
    assert given.urls == [f"http://{service['metadata']['name']}:{Settings().server.port}/v1"]


def test_the_image_is_the_servers_with_ray_in_it() -> None:
    kustomization = yaml.safe_load((FOLDER / "bulk" / "kustomization.yaml").read_text())
    assert kustomization["resources"] == ["rayjob.yaml", "network.yaml"]
    (image,) = kustomization["images"]
    assert {container["image"] for pod in PODS for container in pod["spec"]["containers"]} == {image["name"]}
    (server,) = {container["image"].partition(":")[0] for container in server_containers().values()}
    assert image["name"] == server
    assert ("ARG", "EXTRAS=") in STEPS and "requirements-bulk.txt" in image_copies()


def test_ray_has_the_version_of_the_image_and_asks_for_a_token() -> None:
    assert CLUSTER["rayVersion"] == pins(ROOT / "requirements-bulk.txt")["ray"]
    assert CLUSTER["authOptions"] == {"mode": "token"}


def test_every_pod_is_confined_and_writes_where_all_can_read() -> None:
    user, group = (int(number) for number in image_user().split(":"))
    for pod in PODS:
        context, (container,) = pod["spec"]["securityContext"], pod["spec"]["containers"]
        assert context["runAsNonRoot"] is True and context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (context["runAsUser"], context["runAsGroup"]) == (user, group)
        assert pod["spec"]["automountServiceAccountToken"] is False
        confined = container["securityContext"]
        assert confined["readOnlyRootFilesystem"] is True and confined["capabilities"] == {"drop": ["ALL"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        out = parse(shlex.split(JOB["spec"]["entrypoint"])[3:]).to
        assert "persistentVolumeClaim" in volumes[mounts["/" + out.split("/")[1]]]


def test_the_gateways_let_the_pods_in() -> None:
    (labels,) = {tuple(pod["metadata"]["labels"].items()) for pod in PODS}
    policies: dict[str, Any] = {each["metadata"]["name"]: each["spec"] for each in RESOURCES[1:]}
    assert policies["whisper-bulk"]["podSelector"]["matchLabels"] == dict(labels)
    (rule,) = policies["whisper-server-bulk"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": dict(labels)}}]
    assert rule["ports"] == [{"port": Settings().server.port}]
    base = yaml.safe_load((FOLDER / "base" / "network.yaml").read_text().split("---")[0])
    assert policies["whisper-server-bulk"]["podSelector"] == base["spec"]["podSelector"]
