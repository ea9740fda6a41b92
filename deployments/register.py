"""Registers what prefect.yaml says on a server."""

import hashlib
import subprocess
from pathlib import Path

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.utilities.callables import parameter_schema

from deployments.parts import program
from flows.accelerator import TRAINING
from flows.retrain import retrain
from flows.train import train
from flows.watch_data import watch_data
from hubtune.errors import StackFailed

CHECKOUT = Path(__file__).parents[1]
FLOWS = ["Retrain", TRAINING, "Watch data"]
"""Names of the flows in prefect.yaml: deployments of others may be called like ours."""


def register(client: SyncPrefectClient, folder: Path, environment: dict[str, str]) -> list[str]:
    """Register all deployments where one is missing, or where prefect.yaml or a form has changed since.

    What somebody has changed in the UI since then stays, and schedules that are switched on stay so in any case.

    Args:
        client: of the server.
        folder: where it is written down what was registered.
        environment: Prefect's settings.

    Returns:
        Their names.

    Raises:
        StackFailed: Prefect refuses them.
    """
    content = (CHECKOUT / "prefect.yaml").read_bytes()
    names = [deployment["name"] for deployment in yaml.safe_load(content)["deployments"]]
    # Deployments name the folder that the flows lie in, and keep the schema of their parameters.
    forms = [parameter_schema(flow).model_dump_json() for flow in (retrain, watch_data, train)]
    digest = hashlib.sha256(b"".join([content, *(part.encode() for part in (str(CHECKOUT), *forms))])).hexdigest()
    noted = folder / "registered"
    ours = FlowFilter(name=FlowFilterName(any_=FLOWS))
    before = client.read_deployments(flow_filter=ours)
    if set(names) <= {each.name for each in before} and noted.exists() and noted.read_text() == digest:
        return names
    active = {(each.id, schedule.slug) for each in before for schedule in each.schedules if schedule.active}
    try:
        _deploy(environment)
    finally:
        for each in client.read_deployments(flow_filter=ours):
            for schedule in each.schedules:
                if schedule.slug is not None and (each.id, schedule.slug) in active and not schedule.active:
                    client.update_deployment_schedule(each.id, schedule.id, active=True)
    noted.write_text(digest)
    return names


def _deploy(environment: dict[str, str]) -> None:
    command = program("prefect", "--no-prompt", "deploy", "--all")
    done = subprocess.run(
        command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        raise StackFailed(
            f"Prefect refuses the deployments:\n{done.stdout}{done.stderr}",
            where=str(CHECKOUT / "prefect.yaml"),
            remedy="mend what the message says",
        )
