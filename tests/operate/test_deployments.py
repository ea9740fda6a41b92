"""`prefect.yaml` as ops use it: every key is one that Prefect knows, and every deployment registers."""

import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)

from tests.operate.conftest import prepare_pools
from tests.prefect_server import PREFECT

CHECKOUT = Path(__file__).parents[2]
CONTENT: dict[str, Any] = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))


def test_every_key_is_known() -> None:
    # Prefect passes over keys that it does not know, so that a misspelt one would go unnoticed.
    assert set(CONTENT) <= set(PrefectYamlModel.model_fields) | {"name", "prefect-version"}
    for deployment in CONTENT["deployments"]:
        assert set(deployment) <= set(DeploymentConfig.model_fields)
        assert set(deployment["work_pool"]) <= set(WorkPoolConfig.model_fields)
        assert set(deployment.get("concurrency_limit", {})) <= set(ConcurrencyLimitSpec.model_fields)
        for schedule in deployment.get("schedules", []):
            RawScheduleConfig.model_validate(schedule)


@pytest.mark.slow
def test_every_deployment_registers(server: dict[str, str]) -> None:
    api = server["PREFECT_API_URL"]
    prepare_pools(server)
    result = subprocess.run(
        [PREFECT, "--no-prompt", "deploy", "--all"],
        env=os.environ | server,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found = httpx.post(f"{api}/deployments/filter", json={}).raise_for_status().json()
    listing = {deployment["name"] for deployment in found}
    for deployment in CONTENT["deployments"]:
        assert deployment["name"] in listing
