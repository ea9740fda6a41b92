"""README.md of a published model: what it is, what it was made from, how good it is and how to use it."""

from dataclasses import dataclass
from typing import Any

from hubtune.inference.classifier import Engine
from schemas.handoff import SPLITS, ModelFacts, Split
from schemas.recipe import Recipe

_MODES = {
    "feature_extraction": "the encoder was kept as it is, and a head was trained on its embeddings",
    "fine_tuning": "the whole encoder was trained, together with a head",
    "partial": "the upper layers of the encoder were trained, together with a head",
    "layer_extraction": "the encoder was cut off above a layer and trained, together with a head",
}

_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "loss": "log loss", "f1_at_threshold": "F1 at its threshold"}


@dataclass(frozen=True)
class CardFacts:
    """What the card tells.

    `recipe` is the recipe as it is published, `max_length` how many tokens of a text are read (None where there is no
    limit), `figures` what `main_figures` gives, `counts` how many rows each class has in each split, and `sizes` how
    many rows a split has.
    """

    recipe: Recipe
    model: ModelFacts
    engine: Engine
    labels: list[str]
    max_length: int | None
    figures: dict[str, Any]
    counts: dict[Split, list[int]]
    sizes: dict[Split, int]


def model_card(facts: CardFacts) -> str:
    """Write the card.

    Args:
        facts: what it tells.

    Returns:
        Markdown.
    """
    recipe, train = facts.recipe, facts.recipe.train
    source = recipe.data.source or recipe.data.train
    figures = facts.figures
    test = figures["evaluation"]["test"]
    size = f"{facts.model.parameters / 1e6:.1f} million parameters, text vectors {facts.model.width} wide"
    several, pairs = train.task == "multilabel", recipe.data.text_pair is not None
    hidden = f"hidden layers of {', '.join(map(str, train.hidden))}" if train.hidden else "no hidden layer"
    limits = [
        _calibration(figures["calibration"], "sigmoid" if several else "softmax"),
        "The figures above hold for texts like those of the test split, and say little about others.",
        "Each class is decided by itself: a text may get classes that exclude each other, or none at all."
        if several
        else "Every text gets one of the classes, also a text that fits none of them.",
    ]
    if facts.max_length is not None:
        only = "both texts of a pair together only" if pairs else "a long text only the first"
        limits.insert(0, f"Of {only} {facts.max_length} tokens are read.")
    sections = [
        f"# {recipe.name}\n",
        f"A classifier of {'pairs of texts' if pairs else 'texts'}: {' / '.join(map(_cell, facts.labels))}. "
        f"{'A text may belong to several of them, or to none. ' if several else ''}"
        f"On {test['rows']:,} texts that it had not seen it reached {test['accuracy']:.3f} accuracy "
        f"{'(all classes of a text right) ' if several else ''}and {test['macro_f1']:.3f} macro-F1.\n",
        "## What it was made from\n",
        f"- Pretrained model: `{recipe.model.source}` ({facts.model.interface}; {size})",
        f"- Training: {train.mode} ({_MODES.get(train.mode, train.mode)}; {hidden}; seed {train.seed})",
        f"- Data: `{source}`\n",
        _data_table(facts),
        "## How good it is\n",
        _metrics_table(figures["evaluation"]),
        f"On the test split, with other rows of the same kind (95 % intervals): {_intervals(figures['intervals'])}.\n",
        "Against baselines that were fitted on the same rows and judged on the same test rows:\n",
        _baselines_table(test, figures),
        f"{figures['verdict']}\n",
        *([f"{_threshold(figures['threshold'])}\n"] if figures["threshold"] else []),
        *(_thresholds(figures["thresholds"]) if several else []),
        "On the test split, class by class:\n",
        _class_table(test["per_class"]),
        *(_separate_counts(test["per_class"]) if several else _confusion(facts.labels, test["confusion_matrix"])),
        "## How to use it\n",
        _usage(str(recipe.name), facts.engine, pairs),
        "## Limits\n",
        *(f"- {limit}" for limit in limits),
        "\n`recipe.yaml` holds every setting, `metrics.json` every figure.",
    ]
    return "\n".join(sections) + "\n"


def _data_table(facts: CardFacts) -> str:
    rows = [
        [split, *(f"{count:,}" for count in counts), f"{facts.sizes[split]:,}"]
        for split, counts in facts.counts.items()
    ]
    return _table(["Rows", *facts.labels, "all"], rows)


def _metrics_table(evaluation: dict[str, Any]) -> str:
    rows = []
    for split in SPLITS:
        if metrics := evaluation.get(split):
            figures = [f"{metrics[name]:.4f}" for name in ("accuracy", "macro_f1", "loss")]
            rows.append([split, f"{metrics['rows']:,}", *figures])
    return _table(["Split", "Rows", "Accuracy", "Macro-F1", "Loss"], rows)


def _intervals(intervals: dict[str, dict[str, float]]) -> str:
    return ", ".join(f"{_NAMES[name]} {each['low']:.3f} to {each['high']:.3f}" for name, each in intervals.items())


def _baselines_table(test: dict[str, Any], figures: dict[str, Any]) -> str:
    interval = figures["intervals"].get("f1_at_threshold")
    everyone = {"this model": test | {"f1_at_threshold": interval["estimate"] if interval else None}}
    names = ["accuracy", "macro_f1", "loss", *(["f1_at_threshold"] if interval else [])]
    rows = [
        [name, *(f"{each[figure]:.4f}" for figure in names)] for name, each in (everyone | figures["baselines"]).items()
    ]
    return _table(["", *(_NAMES[name] for name in names)], rows)


def _threshold(threshold: dict[str, Any]) -> str:
    at_half, at_threshold = (threshold[when]["test"]["f1"] for when in ("at_half", "at_threshold"))
    return (
        f"Labels are those of the likelier class. Who predicts “{_cell(threshold['positive_class'])}” from a "
        f"probability of {threshold['value']:.4f} on (chosen on the validation split) gets an F1 of {at_threshold:.4f} "
        f"for it on the test split; from 0.5 on, {at_half:.4f}."
    )


def _thresholds(thresholds: list[dict[str, Any]]) -> list[str]:
    rows = [
        [
            threshold["positive_class"],
            f"{threshold['value']:.4f}",
            *(f"{threshold[when]['test']['f1']:.4f}" for when in ("at_half", "at_threshold")),
        ]
        for threshold in thresholds
    ]
    return [
        "Labels are the classes with a probability of at least 0.5. From other thresholds on, chosen on the validation "
        "split, the F1 of each class on the test split would be:\n",
        _table(["Class", "Threshold", "F1 from 0.5 on", "F1 from the threshold on"], rows),
    ]


def _calibration(calibration: dict[str, Any], function: str) -> str:
    before, after = (calibration[when]["expected_calibration_error"] for when in ("before", "after"))
    return (
        f"Probabilities are the {function} of the head's logits; they are not calibrated. On the test split their "
        f"expected calibration error is {before:.3f}; with logits divided by {calibration['temperature']:.3f}, the "
        f"temperature fitted on the validation split, it is {after:.3f}."
    )


def _class_table(per_class: dict[str, dict[str, float]]) -> str:
    rows = [
        [label, *(f"{figures[name]:.4f}" for name in ("precision", "recall", "f1")), f"{figures['support']:,.0f}"]
        for label, figures in per_class.items()
    ]
    return _table(["Class", "Precision", "Recall", "F1", "Rows"], rows)


def _confusion(labels: list[str], matrix: list[list[int]]) -> list[str]:
    return [
        "Confusion matrix of the test split (rows: true class; columns: predicted class):\n",
        _table(["", *labels], [[label, *map(str, row)] for label, row in zip(labels, matrix, strict=True)]),
    ]


def _separate_counts(per_class: dict[str, dict[str, int]]) -> list[str]:
    columns = {"tp": "Rightly given", "fp": "Wrongly given", "fn": "Wrongly not given", "tn": "Rightly not given"}
    rows = [[label, *(f"{figures[name]:,}" for name in columns)] for label, figures in per_class.items()]
    return ["How often each class was given on the test split:\n", _table(["Class", *columns.values()], rows)]


def _usage(name: str, engine: Engine, pairs: bool) -> str:
    texts = '"a text" "another"' if pairs else '"a text"'
    item = '("a text", "another")' if pairs else '"a text"'
    instance = '{"text": "a text", "text_pair": "another"}' if pairs else '"a text"'
    needs = (
        ""
        if engine == "onnx"
        else "ONNX cannot express the model, so this takes TensorFlow: "
        '`pip install "tensorflow==2.21.*" "tensorflow-text==2.21.*"`.\n'
    )
    return f"""On the command line:

```
hubtune predict {name} {texts}
```

In Python:

```python
from hubtune.inference import Classifier

classifier = Classifier.load("{name}")
classifier.predict([{item}])
```
{needs}
With TensorFlow Serving, whose `--model_base_path` is the folder of this model's versions:

```
curl -d '{{"instances": [{instance}]}}' http://localhost:8501/v1/models/{name}:predict
```
"""


def _table(header: list[str], rows: list[list[str]]) -> str:
    alignment = ["---"] + ["---:"] * (len(header) - 1)
    lines = [[_cell(cell) for cell in header], alignment, *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|")
