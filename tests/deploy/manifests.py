"""What deploy/kubernetes would send to a cluster, and its parts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy.images import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
BUILDS = ("overlays/cpu", "overlays/gpu", "overlays/several", "kserve")

Resource = dict[str, Any]


def built(folder: str) -> list[Resource]:
    """What `kubectl apply -k` would send; without kubectl, the files as they are written."""
    if shutil.which("kubectl"):
        made = subprocess.run(
            # some kubectls first ask the server for its version, by default whatever listens on 8080
            ["kubectl", "kustomize", "--server", "http://127.0.0.1:1", str(FOLDER / folder)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        return list(yaml.safe_load_all(made.stdout))
    folders = [FOLDER / folder, *([FOLDER / "base"] if folder != "kserve" else [])]
    files = [file for each in folders for file in each.glob("*.yaml") if file.name != "kustomization.yaml"]
    return [resource for file in files for resource in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str, folder: str = "overlays/cpu") -> Iterator[Resource]:
    yield from (resource for resource in built(folder) if resource["kind"] == kind)


def pods(folder: str) -> Iterator[Resource]:
    for resource in built(folder):
        if resource["kind"] in ("Deployment", "Job"):
            yield resource["spec"]["template"]["spec"]
        elif resource["kind"] == "InferenceService":
            yield resource["spec"]["predictor"]


def containers(pod: Resource) -> list[Resource]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def server_containers(folder: str = "overlays/cpu") -> dict[str, Resource]:
    deployment = next(of_kind("Deployment", folder))
    return {each["name"]: each for each in containers(deployment["spec"]["template"]["spec"])}


def variables(container: Resource) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", [])}
