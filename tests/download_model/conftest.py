"""The starter model, and a tiny one of the same kind, converted once for all tests of the block."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from schemas.handoff import ModelFacts
from schemas.recipe import ModelRecipe
from tasks.download_model.convert_bert import convert
from tasks.download_model.fetch import fetch
from tasks.fresh_process import run_in_fresh_process

# Must be set before whichever test imports TensorFlow first: hub.KerasLayer wants the Keras of TensorFlow 2.15.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

SHARED_MODELS = Path(__file__).parents[2] / ".." / "shared" / "models"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TINY_VOCABULARY = [*SPECIAL, *"abcdefghijklmnopqrstuvwxyz?.,", "##s", "what", "plant", "know", "KNOW"]


@dataclass(frozen=True)
class Fetched:
    """A model artifact's content, what was found out about it, and what was said meanwhile."""

    folder: Path
    facts: ModelFacts
    lines: list[str]


def fetched(recipe: ModelRecipe, folder: Path) -> Fetched:
    lines: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    return Fetched(folder, fetch(recipe, folder, lines.append), lines)


@pytest.fixture(scope="session")
def starter_model(tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    return fetched(ModelRecipe(source="starter"), tmp_path_factory.mktemp("starter"))


@pytest.fixture(scope="session")
def tiny_hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `encoder/` and `preprocessor/` in hub format: two layers, eight wide, weights at random."""
    original, folder = tmp_path_factory.mktemp("original"), tmp_path_factory.mktemp("tiny")
    write_bert(original)
    # In this process, since nobody asks for the same bytes again.
    convert({"source": str(original), "folder": str(folder)}, print)
    return folder


def write_small_model(folder: Path) -> dict[str, str]:
    """A model of two layers, eight wide, as SavedModels: what a recipe says of it."""
    original = folder / "original"
    original.mkdir()
    write_bert(original)
    request = {"source": str(original), "folder": str(folder)}
    run_in_fresh_process("tasks.download_model.convert_bert", request, print, timeout_seconds=300)
    return {"source": f"{folder}/encoder", "preprocessor": f"{folder}/preprocessor"}


def write_bert(folder: Path, changes: Mapping[str, str] | None = None, *, lower_case: bool = True) -> None:
    """A BERT model in the form in which Hugging Face keeps it."""
    width, wide, layers = 8, 16, 2
    config = {
        "model_type": "bert", "hidden_act": "gelu", "vocab_size": len(TINY_VOCABULARY), "hidden_size": width,
        "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": wide,
        "max_position_embeddings": 64, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config | dict(changes or {})), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(TINY_VOCABULARY) + "\n", encoding="utf-8")
    random = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}

    def dense(name: str, rows: int, columns: int) -> None:
        weights[f"{name}.weight"] = random.normal(0, 0.1, (rows, columns)).astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(rows, np.float32)

    def norm(name: str) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    for name, rows in (("word", len(TINY_VOCABULARY)), ("position", 64), ("token_type", 2)):
        weights[f"embeddings.{name}_embeddings.weight"] = random.normal(0, 1, (rows, width)).astype(np.float32)
    norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense(f"{layer}.attention.{part}", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", wide, width)
        dense(f"{layer}.output.dense", width, wide)
        norm(f"{layer}.output.LayerNorm")
    dense("pooler.dense", width, width)
    save_file(weights, folder / "model.safetensors")
