"""The Grafana dashboard: test_up.py compares its metrics with those of a real server and a real exporter."""

import re
from itertools import combinations
from typing import Any

from deployments.metrics import GAUGES
from tests.operate.dashboard import DASHBOARD, metrics_of, queries

PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


def test_every_expression_asks_for_a_metric_with_labels_that_it_has() -> None:
    for query in queries():
        names = metrics_of(query)
        assert names, query
        for name, labels in re.findall(r"(hubtune_\w+)\{([^}]*)\}", query):
            asked = re.findall(r"(\w+)=~?\"", labels)
            assert asked, query
            assert set(asked) <= set(GAUGES[name].labels), query


def test_every_gauge_is_shown_but_what_others_say_better() -> None:
    shown = {name for query in queries() for name in metrics_of(query) if name.startswith("hubtune_")}
    others = {"hubtune_model_published_timestamp_seconds", "hubtune_rows_kept", "hubtune_training_rows"}
    assert shown == set(GAUGES) - others


def test_legends_name_labels_of_their_metrics() -> None:
    for panel in PANELS:
        for target in panel.get("targets", []):
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            (name,) = metrics_of(target["expr"])
            if name in GAUGES:
                assert used == set(GAUGES[name].labels) - set(re.findall(r"(split)=", target["expr"])), target


def test_the_data_source_is_a_variable_and_every_variable_is_there() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    of_panels = [
        part["datasource"] for panel in PANELS for part in (panel, *panel.get("targets", [])) if "targets" in panel
    ]
    of_variables = [each["datasource"] for each in variables.values() if each["type"] == "query"]
    assert {(each["type"], each["uid"]) for each in of_panels + of_variables} == {("prometheus", "${datasource}")}
    asked = {name for query in queries() for name in re.findall(r"\$(\w+)", query)} - {"__rate_interval"}
    assert asked == set(variables) - {"datasource"}


def test_panels_have_places_of_their_own() -> None:
    assert DASHBOARD["schemaVersion"] >= 41
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)
