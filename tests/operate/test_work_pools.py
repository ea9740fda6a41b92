"""Base job templates of work pools: a real server takes them, and what comes of them is what the pages promise."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.templating import find_placeholders
from prefect.workers.base import BaseJobConfiguration

from tests.operate.conftest import CHECKOUT, OVER, Json, Stage
from tests.prefect_server import PREFECT, ask, running

TEMPLATES = CHECKOUT / "deployments" / "work_pools"
TYPES = {
    "process": "process",
    "docker": "docker",
    "kubernetes-gpu": "kubernetes",
    "gke-tpu": "kubernetes",
    "vertex-ai": "vertex-ai",
}
KUBERNETES = ["kubernetes-gpu", "gke-tpu"]
GIVEN = {
    "store": "gs://bucket/store",
    "image": "registry/hubtune:1",
    "project": "a-project",
    "region": "europe-west4",
    "service_account_name": "trainer@a-project.iam.gserviceaccount.com",
}
FOLDER = "/opt/prefect"
"""Of the checkout in the images."""
PAGE = (CHECKOUT / "docs" / "work-pools.md").read_text(encoding="utf-8")


def template(name: str) -> Json:
    read: Json = json.loads((TEMPLATES / f"{name}.json").read_text(encoding="utf-8"))
    return read


def required(name: str) -> Json:
    """What a deployment has to say."""
    return {variable: GIVEN[variable] for variable in template(name)["variables"]["required"]}


class Configuration(BaseJobConfiguration, extra="allow"):
    """What a worker makes of a template. The classes of other workers than `process` are in packages of their own."""


def rendered(name: str, **job_variables: Any) -> Json:
    """A template as a worker fills it in."""

    async def fill() -> Configuration:
        # No request is made of it: no template refers to a block.
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
            async with get_client() as client:
                values = required(name) | job_variables
                return await Configuration.from_template_and_values(template(name), values, client=client)

    return asyncio.run(fill()).model_dump()


def strings(part: object) -> list[str]:
    if isinstance(part, dict):
        return [text for value in part.values() for text in strings(value)]
    if isinstance(part, list):
        return [text for value in part for text in strings(value)]
    return [part] if isinstance(part, str) else []


def test_every_template_is_tested_and_on_the_page() -> None:
    assert {path.stem for path in TEMPLATES.iterdir()} == set(TYPES)
    commands = re.findall(r"work-pool create accelerator --type (\S+) \\\n *--base-job-template (\S+)", PAGE)
    assert {(kind, CHECKOUT / path) for kind, path in commands} == {
        (kind, TEMPLATES / f"{name}.json") for name, kind in TYPES.items()
    }


@pytest.mark.parametrize("name", TYPES)
def test_every_placeholder_is_a_variable_and_every_variable_is_used(name: str) -> None:
    configuration = template(name)["job_configuration"]
    used = {found.name for text in strings(configuration) for found in find_placeholders(text)}
    variables = set(template(name)["variables"]["properties"])
    # Where a template has an `env` of its own, Prefect adds that of a deployment to it.
    merged = {"env"} if isinstance(configuration["env"], dict) else set()
    assert used | merged == variables


@pytest.mark.parametrize("name", TYPES)
def test_variables_are_described_and_their_defaults_are_valid(name: str) -> None:
    schema = template(name)["variables"]
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    for variable, field in schema["properties"].items():
        assert field["title"], variable
        assert field["description"].endswith("."), variable
        assert ("default" in field) is (variable not in schema["required"]), variable
        for kind in field.get("anyOf", [field]):
            limits = {
                "string": {"pattern", "enum", "minLength"},
                "integer": {"minimum", "enum"},
                "number": {"minimum"},
                "array": {"items"},
                "object": {"additionalProperties"},
            }
            assert limits.get(kind["type"], {"type"}) & set(kind), variable
    defaults = {variable: field["default"] for variable, field in schema["properties"].items() if "default" in field}
    Draft202012Validator(schema).validate(defaults | required(name))
    # A server looks at each by itself too: where one is invalid, it no longer asks for what is required.
    for variable, value in defaults.items():
        Draft202012Validator({**schema, "required": []}).validate({variable: value})


@pytest.mark.parametrize("name", TYPES)
def test_runs_know_the_store_and_what_a_deployment_adds(name: str) -> None:
    env = rendered(name, env={"HUBTUNE_CACHE": "/scratch"})["env"]
    assert env["HUBTUNE_CACHE"] == "/scratch"
    # Processes of a worker have its environment, and its store with it.
    assert env.get("HUBTUNE_STORE") == (None if name == "process" else GIVEN["store"])
    assert env.get("TPU_NAME") == ("local" if name == "gke-tpu" else None)


@pytest.mark.parametrize("name", KUBERNETES)
def test_a_kubernetes_job_runs_once_within_limits_and_without_privileges(name: str) -> None:
    job = rendered(name, namespace="training", environment_secret="store-key", cpu="8")["job_manifest"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["metadata"] == {"generateName": "hubtune-", "namespace": "training"}
    # Beside the flow's own retries, Kubernetes has none: a second pod would train the same again.
    assert set(job["spec"]) == {"backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "template"}
    assert job["spec"]["backoffLimit"] == 0
    assert 0 < job["spec"]["ttlSecondsAfterFinished"] <= job["spec"]["activeDeadlineSeconds"]
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    # Prefect looks for it by this name, and asks for the two fields that a pod does not have.
    assert container["name"] == "prefect-job"
    assert pod["parallelism"] == pod["completions"] == 1
    assert container["securityContext"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["envFrom"] == [{"secretRef": {"name": "store-key", "optional": True}}]
    # The worker puts them there.
    assert not {"env", "command", "args"} & set(container)
    accelerator = {"kubernetes-gpu": {"nvidia.com/gpu": 1}, "gke-tpu": {"google.com/tpu": 4}}[name]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert limits == requests | accelerator
    assert requests["cpu"] == "8"
    assert pod["tolerations"] == [{"key": next(iter(accelerator)), "operator": "Exists", "effect": "NoSchedule"}]
    (volume,) = pod["volumes"]
    (mount,) = container["volumeMounts"]
    assert mount == {"name": volume["name"], "mountPath": "/dev/shm"}
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


def test_a_tpu_pod_goes_where_its_slice_is() -> None:
    job = rendered("gke-tpu", tpu_accelerator="tpu-v5p-slice", tpu_topology="2x2x1")["job_manifest"]
    assert job["spec"]["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "2x2x1",
    }


def test_a_container_runs_once_within_limits_and_without_privileges() -> None:
    gpus = [{"Count": -1, "Capabilities": [["gpu"]]}]
    configuration = rendered("docker", gpus=gpus, memory_limit="8g")
    assert configuration["privileged"] is False
    assert configuration["mem_limit"] == configuration["memswap_limit"] == "8g"
    assert configuration["container_create_kwargs"] == {
        "nano_cpus": 4_000_000_000,
        "shm_size": "2g",
        "device_requests": gpus,
        "restart_policy": {"Name": "no"},
        "init": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }


def test_a_custom_job_runs_once() -> None:
    on_tpu = {"machine_type": "ct5lp-hightpu-4t", "accelerator_type": None, "accelerator_count": None}
    configuration = rendered("vertex-ai", **on_tpu, tpu_topology="2x2")
    # The worker passes over all of `scheduling` when it names no strategy.
    assert configuration["job_spec"]["scheduling"] == {
        "strategy": "STANDARD",
        "disable_retries": True,
        "restart_job_on_worker_restart": False,
    }
    (pool,) = configuration["job_spec"]["worker_pool_specs"]
    assert pool["replica_count"] == 1
    assert pool["machine_spec"] == on_tpu | {"tpu_topology": "2x2"}
    assert configuration["job_spec"]["enable_web_access"] is False


@contextmanager
def made(server: dict[str, str], name: str) -> Iterator[str]:
    """A work pool as the page makes it. Nothing of it is left for the tests that follow."""
    api, pool = server["PREFECT_API_URL"], f"checked-{name}"
    file = str(TEMPLATES / f"{name}.json")
    command = [PREFECT, "--no-prompt", "work-pool", "create", pool, "--type", TYPES[name], "--base-job-template", file]
    done = subprocess.run(command, env=os.environ | server, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield pool
    finally:
        ours = {"work_pools": {"name": {"any_": [pool]}}}
        for kind in ("flow_runs", "deployments"):
            for each in ask("POST", f"{api}/{kind}/filter", json=ours).raise_for_status().json():
                ask("DELETE", f"{api}/{kind}/{each['id']}").raise_for_status()
        ask("DELETE", f"{api}/work_pools/{pool}").raise_for_status()


def deploy(api: str, pool: str, job_variables: Json) -> httpx.Response:
    flow = ask("POST", f"{api}/flows/", json={"name": "Checked"}).raise_for_status().json()
    named = {"name": pool, "flow_id": flow["id"], "work_pool_name": pool, "entrypoint": "flows/train.py:train"}
    return ask("POST", f"{api}/deployments/", json=named | {"job_variables": job_variables})


REFUSED: dict[str, list[Json]] = {
    "process": [{"command": "python other.py"}, {"env": {"LEVEL": 1}}],
    "docker": [{"privileged": True}, {"gpus": [{"Count": 0, "Capabilities": [["gpu"]]}]}, {"memory_limit": "much"}],
    "kubernetes-gpu": [{"gpus": 0}, {"store": "relative"}, {"backoff_limit": 3}],
    "gke-tpu": [{"tpu_topology": "4x4"}, {"tpu_topology": "2x4"}, {"tpu_chips": 2}],
    "vertex-ai": [{"store": "/a/folder"}, {"accelerator_count": 0}, {"credentials": {"project": "another"}}],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_a_server_takes_the_template_and_refuses_what_it_does_not_know(server: dict[str, str], name: str) -> None:
    api = server["PREFECT_API_URL"]
    with made(server, name) as pool:
        read = ask("GET", f"{api}/work_pools/{pool}").raise_for_status().json()
        assert read["type"] == TYPES[name]
        assert read["base_job_template"] == template(name)
        for job_variables in REFUSED[name]:
            refused = deploy(api, pool, job_variables)
            assert "Validation failed" in refused.text, (job_variables, refused.text)
        # What is missing is missed when a run is asked for, before a worker takes it.
        for given in (required(name), {}):
            deployment = deploy(api, pool, given).raise_for_status().json()
            run = ask("POST", f"{api}/deployments/{deployment['id']}/create_flow_run", json={})
            assert run.is_success is (given == required(name)), run.text


def registered(server: dict[str, str], pool: str, *arguments: str) -> Json:
    """A deployment of `Train` as the page makes it."""
    command = [PREFECT, "--no-prompt", "deploy", "flows/train.py:train", "--name", pool, "--pool", pool, *arguments]
    done = subprocess.run(command, env=os.environ | server, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    read: Json = ask("GET", f"{server['PREFECT_API_URL']}/deployments/name/Train/{pool}").raise_for_status().json()
    return read


@pytest.mark.slow
def test_a_deployment_for_containers_names_the_folder_of_the_images(server: dict[str, str]) -> None:
    said = required("docker") | {"gpus": [{"Count": -1, "Capabilities": [["gpu"]]}]}
    with made(server, "docker") as pool:
        deployment = registered(server, pool, "--job-variable", json.dumps(said))
        assert deployment["job_variables"] == said
        assert deployment["pull_steps"] == [{"prefect.deployments.steps.set_working_directory": {"directory": FOLDER}}]


@pytest.mark.slow
def test_a_run_goes_through_a_worker_of_the_process_pool(server: dict[str, str], tmp_path: Path) -> None:
    environment = os.environ | server | {"HUBTUNE_STORE": str(tmp_path / "store"), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    stage = Stage(tmp_path, server, {}, {})
    with made(server, "process") as pool:
        deployment = registered(server, pool)
        nowhere = {"kind": "model", "digest": "0" * 64, "uri": "/elsewhere/model", "facts": {}}
        asked = {"model": nowhere, "rows": nowhere, "recipe": {}}
        with running([PREFECT, "worker", "start", "--pool", pool], environment, tmp_path / "worker.log"):
            for added, store in [({}, "store"), ({"HUBTUNE_STORE": str(tmp_path / "other")}, "other")]:
                wanted = {"parameters": asked, "job_variables": {"env": added}}
                run = stage.post(f"/deployments/{deployment['id']}/create_flow_run", wanted)
                ended = stage.once(run, lambda read: read["state"]["type"] in OVER, 120)
                # It trains nothing: the flow has looked at the store that it was given.
                assert f"HUBTUNE_STORE of the worker: {tmp_path / store}" in ended["state"]["message"]
