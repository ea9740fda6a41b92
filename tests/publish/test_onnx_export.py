"""ONNX models of real encoders, and the encoders that have none."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from hubtune.errors import CorruptArtifact, ExportFailed
from hubtune.inference.tokenizer import WordPieceTokenizer
from tasks.publish.classifier_graph import ClassifierGraph, load_classifier
from tasks.publish.onnx_export import export_onnx
from tests.publish.conftest import inputs
from tests.publish.tiny_models import MAX_LENGTH

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> ClassifierGraph:
    folders = inputs(tiny, "feature_extraction")
    return load_classifier(folders.model, folders.classifier)


def answers(path: Path, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(value.name, value.type) for value in session.get_inputs()] == [
        ("input_ids", "tensor(int64)"),
        ("attention_mask", "tensor(int64)"),
    ]
    result: NDArray[np.float32] = session.run(["probabilities"], {"input_ids": ids, "attention_mask": mask})[0]
    return result


def test_feature_extraction_answers_as_was_evaluated(classifier: ClassifierGraph, tiny: Path, tmp_path: Path) -> None:
    export_onnx(classifier, tmp_path / "model.onnx")
    folders = inputs(tiny, "feature_extraction")
    texts = pl.read_parquet(folders.rows / "test.parquet")["text"].to_list()
    logits = pl.read_parquet(folders.classifier / "answers" / "test.parquet")["logits"].to_list()
    evaluated = softmax(np.array(logits), axis=1)
    for text, expected in zip(texts[::4], evaluated[::4], strict=True):
        ids = np.array(WordPieceTokenizer.load(folders.model / "tokenizer").encode([text], MAX_LENGTH))
        np.testing.assert_allclose(answers(tmp_path / "model.onnx", ids, np.ones_like(ids)), [expected], atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooled"])
def test_batch_and_length_are_free_and_padding_changes_nothing(
    classifier: ClassifierGraph, tmp_path: Path, pooling: Any
) -> None:
    pooled = replace(classifier, trained=classifier.trained.model_copy(update={"pooling": pooling}))
    export_onnx(pooled, tmp_path / "model.onnx")
    generator = np.random.default_rng(3)
    short, long = generator.integers(4, 40, (1, 5)), generator.integers(4, 40, (1, 17))
    both, mask = np.zeros((2, 17), np.int64), np.ones((2, 17), np.int64)
    both[0, :5], both[1], mask[0, 5:] = short, long, 0
    together = answers(tmp_path / "model.onnx", both, mask)
    for row, ids in enumerate([short, long]):
        alone = answers(tmp_path / "model.onnx", ids, np.ones_like(ids))
        np.testing.assert_allclose(together[row], alone[0], atol=1e-5)
    assert answers(tmp_path / "model.onnx", both[:0], mask[:0]).shape == (0, 3)


def test_an_operation_without_counterpart_is_named(tiny: Path, tmp_path: Path) -> None:
    folders = inputs(tiny, "no_onnx_counterpart")
    classifier = load_classifier(folders.model, folders.classifier)
    with pytest.raises(ExportFailed, match="no counterpart for Lgamma") as caught:
        export_onnx(classifier, tmp_path / "model.onnx")
    assert caught.value.remedy
    assert not (tmp_path / "model.onnx").exists()


def test_weights_of_another_model_are_turned_away(tiny: Path, tmp_path: Path) -> None:
    folders = inputs(tiny, "fine_tuning")
    shutil.copytree(folders.classifier, tmp_path, dirs_exist_ok=True)
    description = json.loads((tmp_path / "classifier.json").read_text())
    description["variables"][1] = "another/kernel:0"
    (tmp_path / "classifier.json").write_text(json.dumps(description))
    with pytest.raises(CorruptArtifact, match="no trainable variable 'another/kernel:0'"):
        load_classifier(folders.model, tmp_path)
