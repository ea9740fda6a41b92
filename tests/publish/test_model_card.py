"""The model card, and the recipe that is published with it."""

import pytest

from schemas.handoff import ModelFacts, Split
from schemas.recipe import Recipe
from tasks.publish.model_card import CardFacts, model_card
from tasks.publish.release import main_figures, shareable

SPLIT = {
    "rows": 1200,
    "loss": 0.25,
    "accuracy": 0.9125,
    "macro_f1": 0.9,
    "per_class": {
        "yes": {"precision": 0.8, "recall": 0.75, "f1": 0.7742, "support": 400},
        "no | never": {"precision": 1.0, "recall": 0.9, "f1": 0.9474, "support": 800},
    },
    "confusion_matrix": [[300, 100], [80, 720]],
}
RELIABILITY = {"expected_calibration_error": 0.0444, "loss": 0.25, "bins": []}
EVALUATION = {
    "splits": {"validation": SPLIT, "test": SPLIT},
    "verdict": "Better than the majority class by more than noise.",
    "intervals": {
        "accuracy": {"estimate": 0.9125, "low": 0.9, "high": 0.925},
        "f1_at_threshold": {"estimate": 0.8, "low": 0.75, "high": 0.85},
    },
    "baselines": [
        {
            "name": "the majority class",
            "figures": {"accuracy": 0.6667, "macro_f1": 0.4, "loss": 0.637, "roc_auc": 0.5, "pr_auc": 0.333},
            "f1_at_threshold": 0.5,
            "outcome": "better",
        }
    ],
    "threshold": {
        "positive_class": "no | never",
        "value": 0.375,
        "at_half": {"test": {"f1": 0.7}},
        "at_threshold": {"test": {"f1": 0.8}},
    },
    "calibration": {
        "temperature": 1.75,
        "before": {"test": RELIABILITY},
        "after": {"test": RELIABILITY | {"expected_calibration_error": 0.0123}},
    },
}


def card(**train: object) -> str:
    recipe = Recipe.model_validate({"name": "answers", "data": {"source": "rows.csv"}, "train": train})
    facts = ModelFacts(interface="bert_encoder", width=384, layers=6, parameters=22_713_216, trainable=True)
    counts: dict[Split, list[int]] = {"train": [3000, 6000], "validation": [300, 600], "test": [400, 800]}
    sizes = {split: sum(rows) for split, rows in counts.items()}
    figures = main_figures(EVALUATION)
    return model_card(CardFacts(recipe, facts, "onnx", ["yes", "no | never"], 128, figures, counts, sizes))


def test_a_card_tells_what_the_model_is_and_how_good_it_is() -> None:
    text = card()
    assert text.startswith("# answers\n")
    assert "On 1,200 texts that it had not seen it reached 0.912 accuracy and 0.900 macro-F1." in text
    assert "- Pretrained model: `starter` (bert_encoder; 22.7 million parameters, text vectors 384 wide)" in text
    assert "| train | 3,000 | 6,000 | 9,000 |" in text
    assert "| test | 1,200 | 0.9125 | 0.9000 | 0.2500 |" in text
    assert "| no \\| never | 1.0000 | 0.9000 | 0.9474 | 800 |" in text
    assert "| yes | 300 | 100 |" in text
    assert "(95 % intervals): accuracy 0.900 to 0.925, F1 at its threshold 0.750 to 0.850." in text
    assert "|  | accuracy | macro-F1 | log loss | F1 at its threshold |" in text
    assert "| this model | 0.9125 | 0.9000 | 0.2500 | 0.8000 |" in text
    assert "| the majority class | 0.6667 | 0.4000 | 0.6370 | 0.5000 |" in text
    assert "“no \\| never” from a probability of 0.3750 on" in text
    assert "F1 of 0.8000 for it on the test split; from 0.5 on, 0.7000." in text
    assert "calibration error is 0.044; with logits divided by 1.750" in text
    assert 'Classifier.load("answers")' in text
    assert "only the first 128 tokens" in text


def test_a_card_tells_how_it_was_trained() -> None:
    assert "feature_extraction (the encoder was kept as it is" in card(mode="feature_extraction", hidden=[256, 64])
    assert "hidden layers of 256, 64; seed 42" in card(mode="feature_extraction", hidden=[256, 64])
    assert "fine_tuning (the whole encoder was trained, together with a head; no hidden layer" in card(
        mode="fine_tuning"
    )


def test_what_belongs_to_one_machine_is_not_published() -> None:
    recipe = Recipe.model_validate(
        {
            "name": "answers",
            "model": {"source": "https://hub.example/bert/1?token=abc", "preprocessor": "~/models/pre"},
            "data": {"train": "/home/me/train.csv", "test": "data/test.csv", "validation": "gs://rows/validation.csv"},
        }
    )
    shared = shareable(recipe)
    assert shared.model.source == "https://hub.example/bert/1"
    assert shared.model.preprocessor == "pre"
    assert shared.data.train == "train.csv"
    assert shared.data.test == "data/test.csv"
    assert shared.data.validation == "gs://rows/validation.csv"
    assert shared.train == recipe.train
    assert shareable(Recipe.model_validate({})) == Recipe.model_validate({})


@pytest.mark.parametrize(
    ("data", "shared"),
    [
        ({"source": "sqlite:////home/me/app.db", "query": "SELECT 1"}, {"source": "sqlite:///app.db"}),
        ({"source": "sqlite:///in/app.db", "query": "SELECT 1"}, {"source": "sqlite:///app.db"}),
        (
            {"source": "postgresql://me@h:5432/db?sslkey=/home/me", "query": "SELECT 1"},
            {"source": "postgresql://h:5432/db"},
        ),
        ({"source": "postgresql:///db?host=/home/me", "query": "SELECT 1"}, {"source": "postgresql:///db"}),
        ({"source": "file:///home/me/rows.csv"}, {"source": "file:///rows.csv"}),
        ({"source": "https://h.org/rows.csv?token=secret"}, {"source": "https://h.org/rows.csv"}),
        ({"source": "/home/me/*.csv"}, {"source": "*.csv"}),
        ({"source": "gs://b/2026-??.csv"}, {"source": "gs://b/2026-??.csv"}),
        ({"source": "postgresql://h/db", "query": "SELECT 1", "password_block": "mine"}, {"password_block": None}),
        ({"source": "tfds:glue/sst2", "data_dir": "/home/me/sets"}, {"source": "tfds:glue/sst2", "data_dir": "sets"}),
    ],
)
def test_where_data_lies_is_shared_without_what_is_private(data: dict[str, str], shared: dict[str, str | None]) -> None:
    recipe = Recipe.model_validate({"name": "questions", "data": data})
    published = shareable(recipe).data.model_dump()
    assert {field: published[field] for field in shared} == shared
