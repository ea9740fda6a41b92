"""Releases that are really built: exported, proven, loaded without what they were made from."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from scipy.special import expit, softmax

from hubtune.errors import InvalidData
from hubtune.inference import Classifier
from hubtune.inference.classifier import Text
from hubtune.inference.pairs import split_pair
from schemas.recipe import Recipe
from tasks.fresh_process import run_in_fresh_process
from tests.inference.awkward_texts import AWKWARD_TEXTS, TO_REPLACE
from tests.publish.conftest import Built
from tests.publish.tiny_models import LABELS, REPLACE

pytestmark = pytest.mark.slow

# Answers texts with nothing but TensorFlow and TensorFlow Text, as TensorFlow Serving would.
PLAIN_TENSORFLOW = """
import json, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hubtune", "tasks", "schemas", "tensorflow_hub"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import tensorflow as tf, tensorflow_text
texts = json.load(sys.stdin)
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
def answer(texts):
    columns = {"text": texts}
    if "text_pair" in signature.structured_input_signature[1]:
        columns = {name: [pair[place] for pair in texts] for place, name in enumerate(("text", "text_pair"))}
    outputs = signature(**{name: tf.constant(column, tf.string, [len(column)]) for name, column in columns.items()})
    arrays = {name: value.numpy() for name, value in outputs.items()}
    return {name: (array.astype(str) if array.dtype == object else array).tolist() for name, array in arrays.items()}
print(json.dumps([answer(texts), answer(texts[:1]), answer([])]))
"""


def in_plain_tensorflow(folder: Path, texts: Sequence[Text]) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", PLAIN_TENSORFLOW, str(folder)]
    ended = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    answers: list[dict[str, Any]] = json.loads(ended.stdout)
    return answers


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_release_holds_what_the_contract_says(fine_tuned: Built) -> None:
    assert sorted(files(fine_tuned.folder)) == [
        "README.md",
        "assets/labels.json",
        "assets/vocab.txt",
        "classifier.json",
        "metrics.json",
        "model.onnx",
        "recipe.yaml",
        "saved_model.pb",
        "tokenizer/vocab.txt",
        "tokenizer/wordpiece.json",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert fine_tuned.facts.engine == "onnx"
    assert fine_tuned.facts.name == "tiny"
    assert fine_tuned.facts.labels == LABELS
    assert fine_tuned.facts.metrics["test"].rows == 45
    assert json.loads((fine_tuned.folder / "assets/labels.json").read_text()) == LABELS
    recipe = yaml.safe_load((fine_tuned.folder / "recipe.yaml").read_text())
    assert Recipe.model_validate(recipe).train.max_length == 24
    metrics = json.loads((fine_tuned.folder / "metrics.json").read_text())
    assert metrics["proof"] == {"saved_model": {"rows": 45, "ties": 0}, "onnx": {"rows": 45, "ties": 0}}
    evaluation = json.loads((fine_tuned.inputs.evaluation / "evaluation.json").read_text())
    assert metrics["evaluation"] == evaluation["splits"]
    assert metrics["intervals"] == evaluation["intervals"]
    assert metrics["calibration"]["temperature"] == evaluation["calibration"]["temperature"]
    assert set(metrics["baselines"]) == {"TF-IDF + logistic regression", "the majority class"}
    assert fine_tuned.facts.metrics["test"].loss == evaluation["splits"]["test"]["loss"]


def test_progress_tells_of_both_proofs(fine_tuned: Built) -> None:
    said = "\n".join(fine_tuned.lines)
    assert "SavedModel proven: all 45 test texts" in said
    assert "ONNX model proven: all 45 test texts" in said


def test_the_published_model_answers_as_was_evaluated(fine_tuned: Built) -> None:
    texts = pl.read_parquet(fine_tuned.inputs.rows / "test.parquet")["text"].to_list()
    logits = pl.read_parquet(fine_tuned.inputs.classifier / "answers" / "test.parquet")["logits"].to_list()
    evaluated = softmax(np.array(logits), axis=1)
    classifier = Classifier.from_folder(fine_tuned.folder)
    answers = classifier.predict(texts)
    assert [answer.label for answer in answers] == [LABELS[best] for best in evaluated.argmax(axis=1)]
    np.testing.assert_allclose(classifier.probabilities(texts), evaluated, atol=1e-5)


def test_both_engines_agree_on_awkward_texts(fine_tuned: Built, tmp_path: Path) -> None:
    # In a folder of its own, with only the files that TensorFlow Serving reads.
    served = tmp_path / "1"
    for name, content in files(fine_tuned.folder).items():
        if name.startswith(("saved_model.pb", "variables", "assets")):
            (served / name).parent.mkdir(parents=True, exist_ok=True)
            (served / name).write_bytes(content)
    texts = [*AWKWARD_TEXTS.values(), *TO_REPLACE, "[CLS] typed [SEP] by [PAD] hand [MASK]", "", "why " * 5000]
    together, alone, nothing = in_plain_tensorflow(served, texts)
    assert sorted(together) == ["label", "probabilities"]
    classifier = Classifier.from_folder(fine_tuned.folder)
    assert [answer.label for answer in classifier.predict(texts)] == together["label"]
    np.testing.assert_allclose(classifier.probabilities(texts), together["probabilities"], atol=1e-5)
    np.testing.assert_allclose(alone["probabilities"], together["probabilities"][:1], atol=1e-5)
    # Whoever is named, and whichever address it is: the answer is the same.
    replaced = ["What is known about & <http> by @user?", "What is known about &amp; <https://a.org/b> by @ann?"]
    one, other = classifier.probabilities(replaced)
    assert one.tolist() == other.tolist()
    assert nothing == {"label": [], "probabilities": []}


def test_a_release_depends_on_nothing_but_its_inputs(fine_tuned: Built, tmp_path: Path) -> None:
    again = tmp_path / "another" / "place"
    again.mkdir(parents=True)
    request = {
        "model": str(fine_tuned.inputs.model),
        "classifier": str(fine_tuned.inputs.classifier),
        "folder": str(again),
        "replace": REPLACE,
    }
    run_in_fresh_process("tasks.publish.export", request, lambda line: None, timeout_seconds=300)
    exported, built = files(again), files(fine_tuned.folder)
    assert len(exported) == 8
    assert [name for name, content in exported.items() if built[name] != content] == []
    places = [str(fine_tuned.inputs.model.parent), str(fine_tuned.folder), str(Path.cwd()), "/home/me"]
    for name, content in built.items():
        assert not any(place.encode() in content for place in places), name


def test_a_text_embedding_is_published_as_a_saved_model_alone(text_embedding: Built) -> None:
    assert text_embedding.facts.engine == "tensorflow"
    assert not (text_embedding.folder / "model.onnx").exists()
    assert not (text_embedding.folder / "tokenizer").exists()
    assert any("LookupTableFindV2, StringSplitV2" in line for line in text_embedding.lines)
    assert 'pip install "tensorflow' in (text_embedding.folder / "README.md").read_text()


def test_of_several_classes_each_has_the_probability_that_was_evaluated(multilabel: Built) -> None:
    texts = pl.read_parquet(multilabel.inputs.rows / "test.parquet")["text"].to_list()
    logits = pl.read_parquet(multilabel.inputs.classifier / "answers" / "test.parquet")["logits"].to_list()
    evaluated = expit(np.array(logits))
    expected = [[LABELS[index] for index in np.flatnonzero(row >= 0.5)] for row in evaluated]
    assert {len(labels) for labels in expected} == {0, 1, 2, 3}
    classifier = Classifier.from_folder(multilabel.folder)
    assert classifier.task == "multilabel"
    np.testing.assert_allclose(classifier.probabilities(texts), evaluated, atol=1e-5)
    assert [answer.labels for answer in classifier.predict(texts)] == expected
    (served, _, nothing) = in_plain_tensorflow(multilabel.folder, texts)
    assert sorted(served) == ["labels", "probabilities"]
    np.testing.assert_allclose(served["probabilities"], evaluated, atol=1e-5)
    assert [[name for name in names if name] for names in served["labels"]] == expected
    assert served["labels"][0] == [name if name in expected[0] else "" for name in LABELS]
    assert nothing == {"labels": [], "probabilities": []}


def test_a_release_says_that_a_text_may_have_several_classes(multilabel: Built) -> None:
    description = json.loads((multilabel.folder / "classifier.json").read_text())
    assert (description["format"], description["task"]) == (3, "multilabel")
    metrics = json.loads((multilabel.folder / "metrics.json").read_text())
    assert metrics["proof"] == {"saved_model": {"rows": 45, "ties": 0}, "onnx": {"rows": 45, "ties": 0}}
    assert [threshold["positive_class"] for threshold in metrics["thresholds"]] == LABELS
    assert metrics["evaluation"]["test"]["hamming_loss"] > 0
    card = (multilabel.folder / "README.md").read_text()
    test = metrics["evaluation"]["test"]
    counts = test["per_class"]["sincere"]
    assert "A text may belong to several of them, or to none." in card
    assert "sigmoid of the head's logits" in card
    assert "| test | 22 | 15 | 29 | 45 |" in card
    assert f"| sincere | {counts['tp']} | {counts['fp']} | {counts['fn']} | {counts['tn']} |" in card
    assert "Confusion matrix" not in card


def test_a_classifier_of_pairs_answers_as_was_evaluated(pairs: Built) -> None:
    texts = pl.read_parquet(pairs.inputs.rows / "test.parquet")["text"].to_list()
    logits = pl.read_parquet(pairs.inputs.classifier / "answers" / "test.parquet")["logits"].to_list()
    evaluated = softmax(np.array(logits), axis=1)
    asked = [pair for text in texts if (pair := split_pair(text))]
    classifier = Classifier.from_folder(pairs.folder)
    assert classifier.pairs
    np.testing.assert_allclose(classifier.probabilities(asked), evaluated, atol=1e-5)
    answer = classifier.predict(asked)[3]
    assert (answer.text, answer.text_pair) == asked[3]
    assert answer.label == LABELS[evaluated[3].argmax()]
    # Which text is the first matters.
    turned = classifier.probabilities([(second, first) for first, second in asked])
    assert np.abs(turned - evaluated).max() > 0.01
    metrics = json.loads((pairs.folder / "metrics.json").read_text())
    assert metrics["proof"] == {"saved_model": {"rows": 45, "ties": 0}, "onnx": {"rows": 45, "ties": 0}}
    card = (pairs.folder / "README.md").read_text()
    assert 'predict tiny "a text" "another"' in card
    assert 'predict([("a text", "another")])' in card
    assert '{"instances": [{"text": "a text", "text_pair": "another"}]}' in card


def test_both_engines_agree_on_awkward_pairs(pairs: Built) -> None:
    texts = [*AWKWARD_TEXTS.values(), "[CLS] typed [SEP] by [PAD] hand", "a ｜ b", "", "why " * 5000]
    asked = list(zip(texts, reversed(texts), strict=True))
    together, alone, nothing = in_plain_tensorflow(pairs.folder, asked)
    classifier = Classifier.from_folder(pairs.folder)
    np.testing.assert_allclose(classifier.probabilities(asked), together["probabilities"], atol=1e-5)
    np.testing.assert_allclose(alone["probabilities"], together["probabilities"][:1], atol=1e-5)
    assert nothing == {"label": [], "probabilities": []}
    assert classifier.predict([]) == []


@pytest.mark.parametrize("asked", ["a text", ("a", "b", "c"), ("a",), ("a", None), None])
def test_what_is_no_pair_is_refused(pairs: Built, asked: Any) -> None:
    with pytest.raises(InvalidData, match=r"item 1 is no pair of strings"):
        Classifier.from_folder(pairs.folder).predict([("a", "b"), asked])
