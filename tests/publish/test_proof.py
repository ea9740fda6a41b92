"""The proof turns away every file that answers otherwise than was evaluated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import numpy_helper

from hubtune.errors import CorruptArtifact, ExportFailed, WorkerDied
from hubtune.inference import Classifier
from tasks.publish.proof import Evaluated, beginning, prove, read_evaluated
from tests.inference.handmade_release import LABELS, WORDS, write_handmade_release

TEXTS = ["fine", "lovely table", "awful", "chair", "broken chair", "a fine awful thing"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_handmade_release(tmp_path_factory.mktemp("handmade"))


@pytest.fixture(scope="module")
def evaluated(folder: Path) -> Evaluated:
    probabilities = Classifier.from_folder(folder).probabilities(TEXTS)
    return Evaluated.of(TEXTS, probabilities, "multiclass")


def test_equal_answers_are_a_proof(folder: Path, evaluated: Evaluated) -> None:
    lines: list[str] = []
    proof = prove(folder, "onnx", LABELS, evaluated, lines.append, 60)
    assert (proof.rows, proof.ties, proof.largest_difference) == (6, 0, 0)
    assert lines == ["ONNX model proven: all 6 test texts answered as evaluated (probabilities within 0e+00)"]


def test_other_weights_are_turned_away_with_the_rows_that_differ(
    tmp_path: Path, folder: Path, evaluated: Evaluated
) -> None:
    damaged = write_handmade_release(tmp_path)
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "vectors":
            values = numpy_helper.to_array(tensor).copy()
            values[4 + WORDS.index("awful")] = [9, 0, 0]
            tensor.CopyFrom(numpy_helper.from_array(values, "vectors"))
    onnx.save(model, damaged / "model.onnx")
    with pytest.raises(ExportFailed, match="ONNX model answers 2 of 6 test texts otherwise") as caught:
        prove(damaged, "onnx", LABELS, evaluated, lambda line: None, 60)
    table = caught.value.what.splitlines()[1:]
    assert table[0].split() == ["text", "evaluated", "exported"]
    assert table[1].split() == ["awful", "bad", "0.6652", "good", "0.9995"]
    assert table[2].startswith("  a fine awful thing  ")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fine chair", "fine chair"),
        ("fine " * 20, "fine " * 11 + "fi..."),
        ("fine ｜ awful", "fine ｜ awful"),
        ("fine " * 20 + "｜ awful", "fine fine fine fine fine fi... ｜ awful"),
        ("fine ｜ " + "awful " * 20, "fine ｜ awful awful awful awful awf..."),
    ],
)
def test_of_a_pair_both_texts_are_shown(text: str, shown: str) -> None:
    assert beginning(text) == shown


def test_a_probability_that_is_off_is_turned_away_though_no_label_differs(folder: Path, evaluated: Evaluated) -> None:
    shifted = evaluated.probabilities.copy()
    shifted[3] += [-0.002, 0, 0.002]
    with pytest.raises(ExportFailed, match=r"1 of 6 test texts(.|\n)*chair"):
        prove(folder, "onnx", LABELS, replace(evaluated, probabilities=shifted), lambda line: None, 60)


def test_only_ties_may_go_the_other_way(tmp_path: Path) -> None:
    # Every answer is a third for each class, so that the first class is predicted.
    folder = write_handmade_release(tmp_path, np.zeros((4 + len(WORDS), 3), np.float32))
    tied = Evaluated.of(["fine"], np.array([[0.33334, 0.33330, 0.33336]], np.float32), "multiclass")
    lines: list[str] = []
    assert prove(folder, "onnx", LABELS, tied, lines.append, 60).ties == 1
    assert "1 of them between tied classes" in lines[0]
    not_tied = Evaluated.of(["fine"], np.array([[0.3332, 0.3332, 0.3336]], np.float32), "multiclass")
    with pytest.raises(ExportFailed, match="1 of 1 test texts"):
        prove(folder, "onnx", LABELS, not_tied, lines.append, 60)


def test_of_several_classes_each_decision_is_proven(tmp_path: Path) -> None:
    folder = write_handmade_release(tmp_path / "made", task="multilabel")
    probabilities = Classifier.from_folder(folder).probabilities(TEXTS)
    evaluated = Evaluated.of(TEXTS, probabilities, "multilabel")
    assert prove(folder, "onnx", LABELS, evaluated, lambda line: None, 60).ties == 0
    # Every probability is 0.5, so that each class is predicted.
    even = write_handmade_release(tmp_path / "even", np.zeros((4 + len(WORDS), 3), np.float32), "multilabel")
    tied = Evaluated.of(["fine"], np.array([[0.5, 0.49995, 0.50005]], np.float32), "multilabel")
    assert prove(even, "onnx", LABELS, tied, lambda line: None, 60).ties == 1
    decided = Evaluated.of(["fine"], np.array([[0.5, 0.4995, 0.5]], np.float32), "multilabel")
    with pytest.raises(ExportFailed, match="1 of 1 test texts") as caught:
        prove(even, "onnx", LABELS, decided, lambda line: None, 60)
    told = "good 0.5000, neither 0.5000  good 0.5000, bad 0.5000, neither 0.5000"
    assert told in " ".join(caught.value.what.split("\n")[-1].split()).replace(
        "neither 0.5000 good", "neither 0.5000  good"
    )


def test_logits_of_several_classes_become_a_sigmoid_each(tmp_path: Path) -> None:
    keys = pl.Series("key", [b"a" * 16, b"b" * 16], dtype=pl.Binary)
    pl.DataFrame([keys, pl.Series("text", ["a", "b"])]).write_parquet(tmp_path / "test.parquet")
    (tmp_path / "answers").mkdir()
    logits = pl.Series("logits", [[0.0, -1e-3, 2.0], [-400.0, 400.0, -0.5]])
    pl.DataFrame([keys, logits]).write_parquet(tmp_path / "answers" / "test.parquet")
    evaluated = read_evaluated(tmp_path, tmp_path, "multilabel")
    np.testing.assert_allclose(evaluated.probabilities, [[0.5, 0.49975, 0.880797], [0, 1, 0.377541]], atol=1e-6)
    assert evaluated.chosen.tolist() == [[True, False, True], [False, True, False]]
    assert evaluated.tied.tolist() == [[True, False, False], [False, False, False]]


def test_probabilities_that_are_no_numbers_are_turned_away(tmp_path: Path, evaluated: Evaluated) -> None:
    folder = write_handmade_release(tmp_path, np.full((4 + len(WORDS), 3), np.nan, np.float32))
    with pytest.raises(ExportFailed, match="6 of 6"):
        prove(folder, "onnx", LABELS, evaluated, lambda line: None, 60)


def test_a_file_that_does_not_load_is_turned_away(tmp_path: Path, folder: Path, evaluated: Evaluated) -> None:
    write_handmade_release(tmp_path)
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:200])
    with pytest.raises(ExportFailed, match=r"does not answer in a fresh process:\n.*does not load"):
        prove(tmp_path, "onnx", LABELS, evaluated, lambda line: None, 60)


@pytest.mark.slow
def test_a_saved_model_that_does_not_load_is_turned_away(tmp_path: Path, evaluated: Evaluated) -> None:
    write_handmade_release(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ExportFailed, match=r"SavedModel does not answer in a fresh process:\n.*does not load"):
        prove(tmp_path, "tensorflow", LABELS, evaluated, lambda line: None, 60)


def test_other_classes_are_turned_away(folder: Path, evaluated: Evaluated) -> None:
    with pytest.raises(ExportFailed, match="names other classes"):
        prove(folder, "onnx", ["bad", "good", "neither"], evaluated, lambda line: None, 60)


def test_a_process_that_takes_too_long_can_be_tried_again(folder: Path, evaluated: Evaluated) -> None:
    with pytest.raises(WorkerDied, match="had not answered 6 texts"):
        prove(folder, "onnx", LABELS, evaluated, lambda line: None, 0.01)


def test_answers_are_joined_to_their_texts_by_key(tmp_path: Path) -> None:
    keys, schema = [b"a" * 16, b"b" * 16, b"c" * 16], {"key": pl.Binary}
    pl.DataFrame({"key": keys, "text": ["a", "b", "c"]}, schema | {"text": pl.String}).write_parquet(
        tmp_path / "test.parquet"
    )
    # The logits of the probabilities 0.9, 0.2 and 0.7 of the first class; a shift changes nothing.
    logits = [[np.log(first) + shift, np.log(1 - first) + shift] for first, shift in ((0.9, 0), (0.2, 400), (0.7, -3))]
    answers = pl.DataFrame({"key": keys[::-1], "logits": logits})
    (tmp_path / "answers").mkdir()
    answers.write_parquet(tmp_path / "answers" / "test.parquet")
    evaluated = read_evaluated(tmp_path, tmp_path, "multiclass")
    assert evaluated.texts == ["a", "b", "c"]
    assert evaluated.chosen.tolist() == [[True, False], [False, True], [True, False]]
    assert not evaluated.tied.any()
    np.testing.assert_allclose(evaluated.probabilities, [[0.7, 0.3], [0.2, 0.8], [0.9, 0.1]], rtol=1e-4)
    answers.head(2).write_parquet(tmp_path / "answers" / "test.parquet")
    with pytest.raises(CorruptArtifact, match="of 3 test rows, 2 are among the 2"):
        read_evaluated(tmp_path, tmp_path, "multiclass")
