"""The Kubernetes manifests: valid, of one piece, and their command line runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "launch" / "kubernetes"
yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; try pip install '.[dev]'")


def documents(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


@pytest.fixture
def job():
    (found,) = (d for d in documents("job.yaml") if d["kind"] == "Job")
    return found


@pytest.fixture
def container(job):
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_the_published_schemas_accept_the_manifests(name):
    validate = pytest.importorskip(
        "kubernetes_validate",
        reason="kubernetes-validate is not installed; try pip install '.[dev]'",
    )
    found = documents(name)
    assert found
    for document in found:
        validate.validate(document, "1.31", strict=True)
        validate.validate(document, validate.latest_version(), strict=True)


def test_the_number_of_pods_is_the_same_everywhere(job, container):
    variables = {e["name"]: e.get("value") for e in container["env"]}
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == int(variables["PROCESSES"])
    text = (FOLDER / "job.yaml").read_text(encoding="utf-8")
    assert len(re.findall("# pods$", text, flags=re.MULTILINE)) == 3


def test_pod_0_is_found_through_the_service(job, container):
    (service,) = (d for d in documents("job.yaml") if d["kind"] == "Service")
    name = job["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    assert job["spec"]["completionMode"] == "Indexed"
    subdomain = job["spec"]["template"]["spec"]["subdomain"]
    assert subdomain == service["metadata"]["name"]
    variables = {e["name"]: e.get("value") for e in container["env"]}
    assert variables["COORDINATOR"] == f"{name}-0.{subdomain}:29500"


def test_exit_statuses_are_told_apart(job, container):
    rules = job["spec"]["podFailurePolicy"]["rules"]
    actions = {}
    for rule in rules:
        if "onExitCodes" in rule:
            assert rule["onExitCodes"]["containerName"] == container["name"]
            actions |= dict.fromkeys(rule["onExitCodes"]["values"], rule["action"])
    assert actions == {2: "FailJob", 75: "Ignore"}
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_every_mounted_volume_is_there(job, container):
    volumes = {v["name"]: v for v in job["spec"]["template"]["spec"]["volumes"]}
    assert {m["name"] for m in container["volumeMounts"]} == set(volumes)
    (claim,) = documents("storage.yaml")
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert any(a.startswith("--workdir=/runs/") for a in container["args"])


@pytest.mark.slow
def test_the_command_line_trains(container, tmp_path):
    """As pod 0 of 1, on a tiny network: all but its size is as the manifest says."""
    environment = {e["name"]: e.get("value", "0") for e in container["env"]}
    environment |= {"COORDINATOR": "127.0.0.1:29517", "PROCESSES": "1"}
    environment["IMGREC_JAX_CACHE"] = str(tmp_path / "cache")

    def expand(word):
        return re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], word)

    command = [expand(word) for word in container["command"] + container["args"]]
    assert command[0] == "python"
    assert command[-1] == "--config.parallel.multihost=127.0.0.1:29517,0/1"
    assert "--config=cifar10" in command
    small = ["--config=digits" if word == "--config=cifar10" else word for word in command[1:]]
    small = [w.replace("--workdir=/runs/", f"--workdir={tmp_path}/") for w in small]
    small += ["--config.epochs=1", "--config.model.convnet.width=4"]
    done = subprocess.run(
        [sys.executable, *small],
        env={**os.environ, **environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "cifar10" / "result.json").read_text(encoding="utf-8"))
    assert (result["status"], result["processes"]) == ("finished", 1)
