"""The files for containers, clouds and Kubernetes: schemas, and commands that fit."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SKY = yaml.safe_load((ROOT / "deploy/sky.yaml").read_text(encoding="utf-8"))
KUBERNETES = list(yaml.safe_load_all((ROOT / "deploy/kubernetes.yaml").read_text(encoding="utf-8")))

SKY_KEYS = {"name", "workdir", "num_nodes", "resources", "envs", "secrets", "file_mounts", "setup",
            "run", "config"}  # fmt: skip
"""Of a task: https://docs.skypilot.co/en/latest/reference/yaml-spec.html."""

SKY_RESOURCES = {"infra", "accelerators", "accelerator_args", "cpus", "memory", "instance_type",
                 "use_spot", "disk_size", "disk_tier", "network_tier", "image_id", "ports",
                 "labels", "autostop", "any_of", "ordered", "job_recovery"}  # fmt: skip


def commands() -> dict[str, str]:
    """Where Snakemake is called, and how."""
    (job,) = (one for one in KUBERNETES if one["kind"] == "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {"sky.yaml": SKY["run"], "kubernetes.yaml": container["args"][0]}


@pytest.mark.parametrize("document", KUBERNETES, ids=lambda one: one["kind"])
def test_kubernetes_knows_every_field(document):
    import kubernetes_validate

    kubernetes_validate.validate(document, "1.31", strict=True)


def test_the_job_mounts_what_it_claims():
    claim, job = KUBERNETES
    pod = job["spec"]["template"]["spec"]
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["study"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    (container,) = pod["containers"]
    assert {one["name"] for one in container["volumeMounts"]} == set(volumes)
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert (
        f"--cores {requests['cpu']} --resources gpu={limits['nvidia.com/gpu']}"
        in (commands()["kubernetes.yaml"])
    )


def test_skypilot_knows_every_field():
    assert set(SKY) <= SKY_KEYS
    assert set(SKY["resources"]) <= SKY_RESOURCES
    assert (ROOT / SKY["envs"]["STUDY"]).is_file()
    assert "make install" in SKY["setup"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ninstall:" in makefile


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sky.yaml", "kubernetes.yaml"])
def test_they_call_snakemake_with_options_that_it_has(name):
    from snakemake.cli import get_argument_parser

    known = {
        option for action in get_argument_parser()._actions for option in action.option_strings
    }
    for call in re.findall(r"snakemake (?=-)[^&\n]*", commands()[name].replace("\\\n", " ")):
        options = {word for word in shlex.split(call) if word.startswith("--")}
        assert options <= known, options - known


def test_the_image_has_what_its_commands_need():
    # Where the Snakefile is in the image; its context is this repository without tests.
    home = re.search(r"^WORKDIR (\S+)", DOCKERFILE, re.MULTILINE)
    assert home is not None
    assert f"--snakefile {home[1]}/Snakefile" in commands()["kubernetes.yaml"]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for needed in ("Snakefile", "workflow", "frcore", "config", "pyproject.toml", "README.md"):
        assert needed not in ignored
        assert (ROOT / needed).exists()
    for line in re.findall(r"^COPY (.*) \./$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / name).is_file() for name in line.split())
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extras,) = re.findall(r'--editable "\.\[(.*)\]"', DOCKERFILE)
    assert all(f"\n{extra} = [" in project for extra in extras.split(","))
