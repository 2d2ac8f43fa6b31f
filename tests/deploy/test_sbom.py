"""scripts/sbom.py: complete, and of CycloneDX's shape."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scripts import sbom

PURL = re.compile(r"^pkg:(pypi|maven)/\S+@\S+$")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return sbom.bill(now=datetime(2026, 1, 2, tzinfo=UTC))


def test_the_document_is_cyclonedx(document: dict[str, Any]) -> None:
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", document["serialNumber"])
    assert document["metadata"]["timestamp"] == "2026-01-02T00:00:00+00:00"
    assert document["metadata"]["component"]["version"] == sbom.project_version()
    for component in document["components"]:
        assert component["type"] in ("library", "file")
        assert component["name"] and component["bom-ref"]
        assert component["type"] == "file" or PURL.match(component["purl"])
        assert component["type"] == "library" or len(component["hashes"][0]["content"]) == 64


def test_every_reference_is_known_and_unique(document: dict[str, Any]) -> None:
    references = [component["bom-ref"] for component in document["components"]]
    assert len(references) == len(set(references))
    (edges,) = document["dependencies"]
    assert edges["ref"] == document["metadata"]["component"]["bom-ref"]
    assert edges["dependsOn"] == references


def test_every_pin_is_there_and_what_the_pins_bring(document: dict[str, Any]) -> None:
    versions = {sbom.normal(each["name"]): each.get("version", "") for each in document["components"]}
    for file in sbom.REQUIREMENTS:
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", file.read_text(), re.MULTILINE):
            assert versions[sbom.normal(name)].partition("+")[0] == version
    assert {"urllib3", "sympy", "pydantic-core"} <= versions.keys()
    assert "pytest" not in versions  # nothing of the checks


def test_the_libraries_inside_torchserves_jar_are_there(document: dict[str, Any]) -> None:
    versions = {each["name"]: each.get("version") for each in document["components"]}
    assert "model-server.jar" in versions
    assert {"netty-codec-http", "log4j-core", "grpc-netty-shaded", "snakeyaml"} <= versions.keys()


def test_versions_that_a_jar_does_not_record_are_claimed_for_the_known_jar_only(tmp_path: Path) -> None:
    jar = tmp_path / "other.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/io.netty.versions.properties", "netty-codec.version=9.9.Final\n")
    found = [(each["name"], each.get("version")) for each in sbom.java_components(jar)]
    assert found == [("other.jar", None), ("netty-codec", "9.9.Final")]


def test_a_requirement_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# a comment\nno-such-distribution==1.0\n")
    with pytest.raises(sbom.NotInstalled, match="no-such-distribution"):
        sbom.bill((file,))


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    command = [sys.executable, "-m", "scripts.sbom", "--output", str(target)]
    subprocess.run(command, cwd=sbom.ROOT, check=True, timeout=120)
    assert json.loads(target.read_text())["bomFormat"] == "CycloneDX"
