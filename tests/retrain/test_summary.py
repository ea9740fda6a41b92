"""The table of what is trained."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.retrain.runs import Training
from tests.retrain.small_inputs import FACTS, LABELS, WIDTH

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "trained", "parts"),
    [
        ({"mode": "fine_tuning"}, None, ["embeddings", "layer 1", "layer 2", "not used", "head"]),
        ({"mode": "fine_tuning", "pooling": "pooled"}, None, ["embeddings", "layer 1", "layer 2", "head"]),
        ({"mode": "partial", "freeze_layers": 1, "hidden": [8]}, ["layer 2", "head"], None),
        (
            {"mode": "layer_extraction", "layers": [1, 2], "freeze_layers": "embeddings"},
            ["layer 1", "layer 2", "head"],
            None,
        ),
    ],
    ids=str,
)
def test_the_table_counts_each_part(
    model: Path, training: Training, settings: dict[str, Any], trained: list[str] | None, parts: list[str] | None
) -> None:
    run = training(model, epochs=1, batch_size=120, **settings)
    (table,) = [line.splitlines() for line in run.lines if line.startswith("parameters:")]
    *rows, total = table[1:]
    found = {}
    for line in rows:
        row = re.fullmatch(r"([\w ]+?) +([\d,]+)  (trained|frozen)", line)
        assert row, line
        found[row[1]] = (int(row[2].replace(",", "")), row[3])
    assert list(found) == (parts or list(found))
    assert [name for name, (_, kind) in found.items() if kind == "trained"] == (
        trained or [name for name in found if name != "not used"]
    )
    width = WIDTH * len(settings.get("layers", [0]))
    widths = [width, *settings.get("hidden", []), len(LABELS)]
    assert found["head"][0] == sum((into + 1) * out for into, out in pairwise(widths))
    assert sum(size for size, _ in found.values()) == FACTS.parameters + found["head"][0] == run.facts.parameters
    counted = sum(size for size, kind in found.values() if kind == "trained")
    assert total.split("  ")[-1] == f"{counted:,} trainable, {run.facts.parameters - counted:,} frozen"
