"""The dashboard file, as its tests read it."""

import json
import re
from pathlib import Path
from typing import Any

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "deployments" / "grafana" / "hubtune.json").read_text(encoding="utf-8")
)
# A name before a brace is a metric's; without a brace, it is told by how it begins.
_METRIC = re.compile(r"\b([a-z_]+)(?=\{)|\b((?:hubtune|prefect|process|python)_[a-z_]+)")


def queries() -> list[str]:
    """All expressions of the panels, and those that fill the variables."""
    targets = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    variables = [each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return [*targets, *variables]


def metrics_of(query: str) -> set[str]:
    """The names of the metrics that an expression uses."""
    return {braced or known for braced, known in _METRIC.findall(query)}
