"""A published model made by hand, without TensorFlow: a bag of words with a vector for each word."""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hubtune.inference.classifier import FORMAT, NORMALISATION, Task
from hubtune.inference.tokenizer import WordPieceSettings, WordPieceTokenizer

LABELS = ["good", "bad", "neither"]
WORDS = ["fine", "lovely", "awful", "broken", "table", "chair"]
MAX_LENGTH = 32


def write_handmade_release(
    folder: Path, vectors: NDArray[np.float32] | None = None, task: Task = "multiclass", *, pairs: bool = False
) -> Path:
    """Write a release of the ONNX engine: probabilities are the softmax of the sum of a text's word vectors.

    Args:
        folder: made where it does not exist.
        vectors: float32[pieces, 3]; by default "fine" and "lovely" are good, "awful" and "broken" bad.
        task: with `multilabel`, probabilities are the sigmoid of the sum, and a text without such words belongs to no
            class.
        pairs: whether it takes pairs, of which the words of the second text count.

    Returns:
        The folder.
    """
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    settings = WordPieceSettings(case="lower", longest_word_unit="characters")
    WordPieceTokenizer(vocabulary, settings).save(folder / "tokenizer")
    if vectors is None:
        vectors = np.zeros((len(vocabulary), 3), np.float32)
        vectors[4:6, 0] = vectors[6:8, 1] = 2
        vectors[2:4] = [0, 0, 0.5] if task == "multiclass" else [-0.5, -0.5, -1]
    nodes = [
        helper.make_node("Gather", ["vectors", "input_ids"], ["pieces"]),
        helper.make_node("Cast", ["token_type_ids" if pairs else "attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["pieces", "weights"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], ["logits"], keepdims=0),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"])
        if task == "multilabel"
        else helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    constants = {"vectors": vectors, "last": np.array([2]), "tokens": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "handmade",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask", *(["token_type_ids"] if pairs else []))
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    write_description(folder, task=task, pairs=pairs)
    return folder


def write_description(folder: Path, **changes: object) -> None:
    description = {
        "format": FORMAT,
        "name": "handmade",
        "task": "multiclass",
        "interface": "bert_encoder",
        "engine": "onnx",
        "labels": LABELS,
        "max_length": MAX_LENGTH,
        "normalisation": NORMALISATION,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classifier.json").write_text(json.dumps(description | changes))
