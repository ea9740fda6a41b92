"""Recipes from files and `--set`: what is filled in, and how each mistake is told."""

from pathlib import Path
from typing import Any

import pytest

from hubtune.cli.recipe_file import load_recipe
from hubtune.errors import InvalidRecipe
from schemas.recipe import Recipe
from schemas.train_recipe import TrainRecipe


def _recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_empty_recipe_is_complete() -> None:
    recipe = load_recipe(None, [])
    assert recipe.name == "insincere-questions"
    assert recipe.data.labels == {"0": "sincere", "1": "insincere"}
    assert recipe.train.hidden == [256, 64]
    assert recipe.train.epochs == 20
    assert recipe.train.dropout == 0.3
    assert recipe == Recipe() == Recipe.model_validate(recipe.model_dump())


def test_defaults_follow_the_mode() -> None:
    recipe = load_recipe(None, ["train.mode=fine_tuning"])
    assert (recipe.train.epochs, recipe.train.learning_rate, recipe.train.hidden) == (3, None, [])
    assert load_recipe(None, []).train.learning_rate == 5e-4
    assert load_recipe(None, ["train.mode=fine_tuning", "train.epochs=7"]).train.epochs == 7


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "partial", "freeze_layers": "embeddings"},
        {"mode": "partial", "freeze_layers": 4, "pooling": "pooled", "gradual_unfreezing": True},
        {"mode": "layer_extraction", "layers": [3, 5], "freeze_layers": 3, "pooling": "mean_max"},
        {"mode": "layer_extraction", "freeze_layers": "embeddings"},
        {"mode": "fine_tuning", "gradual_unfreezing": True, "layer_decay": 0.8},
        {"mode": "fine_tuning", "clip_norm": None, "max_length": "auto", "early_stopping_patience": None},
    ],
    ids=str,
)
def test_what_fits_the_mode_is_taken_and_survives_a_round_trip(settings: dict[str, Any]) -> None:
    train = TrainRecipe.model_validate(settings)
    assert {name: getattr(train, name) for name in settings} == settings
    assert (train.epochs, train.hidden, train.dropout) == (3, [], 0.1)
    assert TrainRecipe.model_validate(train.model_dump()) == train
    assert TrainRecipe.model_validate_json(train.model_dump_json()) == train


def test_rows_with_several_labels_have_a_separator() -> None:
    assert (load_recipe(None, []).train.task, load_recipe(None, []).data.label_separator) == ("multiclass", None)
    recipe = load_recipe(None, ["train.task=multilabel"])
    assert (recipe.data.source, recipe.data.label_separator) == ("sample", ",")
    assert recipe == Recipe(train=recipe.train) == Recipe.model_validate(recipe.model_dump())
    assert load_recipe(None, ["train.task=multilabel", "data.label_separator=' | '"]).data.label_separator == " | "
    assert load_recipe(None, ["train.task=multilabel", "train.mode=fine_tuning"]).train.epochs == 3


def test_a_file_and_settings_meet(tmp_path: Path) -> None:
    path = _recipe(tmp_path, "name: mine\ndata: {source: rows.csv, labels: {0: no, 1: 'yes'}}\ntrain: {epochs: 9}\n")
    with pytest.raises(InvalidRecipe):  # an unquoted `no` is a boolean in YAML, and no class name
        load_recipe(path, [])
    recipe = load_recipe(path, ["data.labels={0: bad, 1: good}", "train.seed=7"])
    assert recipe.data.labels == {"0": "bad", "1": "good"}
    assert (recipe.train.epochs, recipe.train.seed) == (9, 7)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["train.epochs=0"], "train.epochs: 0 is not allowed: should be greater than or equal to 1"),
        (["train.epochs=many"], "train.epochs: 'many' is not allowed"),
        (["train.mode=magic"], "train.mode: 'magic' is not allowed: should be 'feature_extraction', 'fine_tuning', "),
        (["train.learningrate=1"], "train.learningrate: unknown field; did you mean learning_rate?"),
        (["trian.epochs=1"], "trian: unknown field; did you mean train? Fields here: "),
        (["frobnicate=1"], "frobnicate: unknown field. Fields here: "),
        (["train.batch_size=-1", "train.dropout=2"], "train.dropout: 2 is not allowed"),
        (["train.hidden=[0]"], "train.hidden.0: 0 is not allowed"),
        (
            ["train.mode=fine_tuning", "train.freeze_layers=2"],
            "freeze_layers has no meaning in mode fine_tuning; it is for partial, layer_extraction",
        ),
        (["train.freeze_layers=embeddings"], "freeze_layers has no meaning in mode feature_extraction"),
        (
            ["train.mode=partial", "train.layers=[2]"],
            "layers has no meaning in mode partial; it is for layer_extraction",
        ),
        (["train.layers=[2]"], "layers has no meaning in mode feature_extraction"),
        (["train.mode=layer_extraction", "train.pooling=pooled"], "choose another for layer_extraction"),
        (
            ["train.mode=layer_extraction", "train.layers=[4, 2]", "train.freeze_layers=3"],
            "freeze_layers must not exceed the lowest of layers, 2",
        ),
        (["train.gradual_unfreezing=true"], "gradual_unfreezing has no meaning in mode feature_extraction"),
        (["train.layer_decay=0.9"], "layer_decay has no meaning in mode feature_extraction"),
        (["train.accumulation_steps=2"], "accumulation_steps has no meaning in mode feature_extraction"),
        (["train.strategy=mirrored"], "strategy has no meaning in mode feature_extraction"),
        (
            ["train.mode=fine_tuning", "train.keep_hidden_states=false"],
            "keep_hidden_states has no meaning in mode fine_tuning; it is for partial, layer_extraction",
        ),
        (["train.mode=partial", "train.freeze_layers=0"], "train.freeze_layers"),
        (["train.mode=layer_extraction", "train.layers=[]"], "train.layers"),
        (["train.mode=layer_extraction", "train.layers=[0]"], "train.layers.0: 0 is not allowed"),
        (["train.max_length=7"], "train.max_length"),
        (["train.max_length=automatic"], "train.max_length"),
        (["train.layer_decay=0"], "train.layer_decay: 0 is not allowed"),
        (["train.layer_decay=1.5"], "train.layer_decay: 1.5 is not allowed"),
        (["train.label_smoothing=1"], "train.label_smoothing: 1 is not allowed"),
        (["train.monitor=f1"], "train.monitor: 'f1' is not allowed"),
        (["name=Not A Name"], "name: 'Not A Name' is not allowed"),
        (["data.source=rows.csv"], "name is needed when the data is not the sample"),
        (["name=a", "data.train=a.csv"], "train and test belong together"),
        (["name=a", "data.train=a.csv", "data.test=b.csv", "data.source=c.csv"], "exclude each other"),
        (["data.labels={a: one}"], "labels must name at least two classes"),
        (["train.class_weights={sincere: 1, rude: 2}"], "names 'rude', which is no class; classes: sincere, insincere"),
        (["evaluate.positive_class=rude"], "'rude' is not one of two classes; classes: sincere, insincere"),
        (
            ["train.task=multi_label"],
            "train.task: 'multi_label' is not allowed: should be 'multiclass' or 'multilabel'",
        ),
        (["data.label_separator=;"], "data.label_separator has no meaning with train.task multiclass"),
        (["train.task=multilabel", "data.label_separator=''"], "data.label_separator: '' is not allowed"),
        (
            ["train.task=multilabel", "evaluate.positive_class=insincere"],
            "evaluate.positive_class has no meaning with train.task multilabel",
        ),
        (["train.task=multilabel", "data=7"], "data: 7 is not allowed"),
        (["evaluate.threshold_metric=recall"], "evaluate.threshold_metric: 'recall' is not allowed"),
        (["preprocess.test_fraction=0.5", "preprocess.validation_fraction=0.5"], "leave at least 0.2 to train on"),
        (["model.source=https://me:secret@hub.example/model.tar.gz"], "model.source: user and password do not belong"),
        (["data=7"], "data: 7 is not allowed"),
        (["epochs"], "'epochs' is not FIELD=VALUE"),
        (["train=3", "train.epochs=1"], "reaches into 'train', which holds 3"),
    ],
)
def test_each_mistake_names_path_value_and_what_is_allowed(settings: list[str], told: str) -> None:
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(None, settings)
    assert told in str(caught.value)
    assert caught.value.exit_status == 2
    assert caught.value.remedy
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- list\n", "a: [\n", "just text"])
def test_a_file_that_is_no_recipe(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRecipe, match=r"recipe\.yaml"):
        load_recipe(_recipe(tmp_path, text), [])


def test_a_recipe_that_does_not_exist() -> None:
    with pytest.raises(InvalidRecipe, match=r"nowhere\.yaml"):
        load_recipe(Path("nowhere.yaml"), [])


def test_limits_of_drift() -> None:
    assert (load_recipe(None, []).drift.warn, load_recipe(None, []).drift.fail) == (0.25, None)
    both = load_recipe(None, ["drift.warn=0.3", "drift.fail=0.4"]).drift
    assert (both.warn, both.fail) == (0.3, 0.4)
    # Who gives the one alone need not know the other's default.
    for written in ("0.0001", "1e-4"):
        low = load_recipe(None, [f"drift.fail={written}"])
        assert (low.drift.warn, low.drift.fail) == (0.0001, 0.0001)
    assert Recipe.model_validate(low.model_dump()) == low
    assert load_recipe(None, ["drift.warn=null", "drift.fail=0.1"]).drift.warn is None
    assert load_recipe(None, ["drift.fail=0.9"]).drift.warn == 0.25
    with pytest.raises(InvalidRecipe, match="fail must not be smaller than warn"):
        load_recipe(None, ["drift.warn=0.3", "drift.fail=0.2"])
    with pytest.raises(InvalidRecipe, match=r"drift\.warn"):
        load_recipe(None, ["drift.warn=-0.1"])
