"""What a person sees of a run in the Prefect UI: reports under a key, and the addresses of other runs and reports."""

from collections.abc import Sequence
from uuid import UUID

import httpx
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.sorting import ArtifactSort
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_UI_URL


def data_key(name: str) -> str:
    """The key of the reports on the rows of a model."""
    return f"data-report-{name}"


def drift_key(name: str) -> str:
    """The key of the reports on how far the rows of a model have moved."""
    return f"drift-{name}"


def evaluation_key(name: str) -> str:
    """The key of the reports on what came of the runs of a model, and how good it is."""
    return f"evaluation-{name}"


def show_report(markdown: str, key: str, description: str) -> None:
    """Show a report on the page of the current run. A server that does not take it is told of, and fails nothing.

    Args:
        markdown: the report.
        key: reports of one kind about one model have the same one in every run, so that the UI has their history.
        description: one line of Markdown.
    """
    try:
        create_markdown_artifact(markdown, key=key, description=description)
    except (httpx.HTTPError, OSError) as error:
        # The page is a convenience; what it tells is in the store either way.
        get_run_logger().warning("the report is not shown on the run's page: %s", error)


def pages(runs: Sequence[str], keys: Sequence[str]) -> dict[tuple[str, str | None], str]:
    """Where the UI shows runs and their reports.

    Args:
        runs: ids of flow runs; the server may never have heard of them.
        keys: of the reports.

    Returns:
        (run, None) -> address of the run's page; (run, key) -> address of its latest report under the key. Without
        those that the server does not know; none at all where there is no UI, as with a temporary server.
    """
    base = PREFECT_UI_URL.value()
    if not base or not runs:
        return {}
    ids = [UUID(run) for run in dict.fromkeys(runs)]
    try:
        with get_client(sync_client=True) as client:
            known = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)))
            shown = client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    key=ArtifactFilterKey(any_=list(keys)), flow_run_id=ArtifactFilterFlowRunId(any_=ids)
                ),
                sort=ArtifactSort.CREATED_DESC,
            )
    except (httpx.HTTPError, OSError) as error:
        get_run_logger().warning("the report has no links to other runs: %s", error)
        return {}
    found: dict[tuple[str, str | None], str] = {
        (str(run.id), None): f"{base.rstrip('/')}/runs/flow-run/{run.id}" for run in known
    }
    for artifact in shown:  # the latest first
        place = (str(artifact.flow_run_id), artifact.key)
        found.setdefault(place, f"{base.rstrip('/')}/artifacts/artifact/{artifact.id}")
    return found


def history_page(key: str) -> str | None:
    """Where the UI shows all reports under a key, one run after the other; None where there is no UI."""
    base = PREFECT_UI_URL.value()
    return f"{base.rstrip('/')}/artifacts/key/{key}" if base else None
