"""docs/operating.md lists every gauge with its labels, and its scrape configuration is YAML."""

import re
from pathlib import Path

import yaml

from deployments.metrics import GAUGES

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")


def test_every_gauge_is_listed() -> None:
    listed = re.findall(r"^\| `(hubtune_\w+)` \| ([^|]*)\|", PAGE, re.MULTILINE)
    assert {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in listed} == {
        name: gauge.labels for name, gauge in GAUGES.items()
    }


def test_the_scrape_configuration_can_be_read() -> None:
    (snippet,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    jobs = {job["job_name"]: job for job in yaml.safe_load(snippet)["scrape_configs"]}
    assert set(jobs) == {"hubtune", "prefect"}
    assert jobs["prefect"]["metrics_path"] == "/api/metrics"
