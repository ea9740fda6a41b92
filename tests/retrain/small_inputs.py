"""Small but real inputs of block 4: a rows artifact to learn from, and a BERT-like encoder of two layers."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hubtune.inference.tokenizer import WordPieceSettings, WordPieceTokenizer
from schemas.handoff import ModelFacts
from schemas.train_recipe import MEANT_FOR, TrainRecipe
from tasks.retrain.examples import Examples
from tasks.retrain.training_step import Part

LABELS = ["weather", "food", "music"]
EVEN = np.ones(len(LABELS), np.float32)
WORDS = {
    "weather": ["rain", "snow", "wind", "storm", "sunshine", "fog"],
    "food": ["bread", "soup", "cheese", "noodles", "apples", "salad"],
    "music": ["violin", "drums", "opera", "songs", "piano", "jazz"],
}
NEUTRAL = ["nothing", "silence", "numbers", "tables", "chairs", "stones", "letters", "paper", "glass"]
FRAMES = [
    "{a} and {b}",
    "there was {a} again",
    "why is there {a} on tuesday , and {b} on friday ?",
    "my sister talks about {a} , {b} , and nothing else , from morning until late in the evening",
    "{b} !",
    "they say that {a} goes well with {b}",
]
WIDTH, LAYERS, POSITIONS, MAX_LENGTH = 32, 2, 64, 32
FACTS = ModelFacts(
    interface="bert_encoder",
    width=WIDTH,
    layers=LAYERS,
    parameters=22_016,
    trainable=True,
    vocabulary=53,
    max_positions=POSITIONS,
)


def topics() -> list[tuple[str, int]]:
    """Every frame with every ordered pair of words of one class: 540 texts, 3 classes."""
    rows: dict[str, int] = {}
    for label, name in enumerate(LABELS):
        for frame, (a, b) in itertools.product(FRAMES, itertools.permutations(WORDS[name], 2)):
            rows.setdefault(frame.format(a=a, b=b), label)
    return list(rows.items())


def mixed_topics() -> list[tuple[str, list[int]]]:
    """Every frame with every ordered pair of words of any class or none; a text has the classes of its words."""
    words = {word: [label] for label, name in enumerate(LABELS) for word in WORDS[name]}
    words |= {word: [] for word in NEUTRAL}
    rows: dict[str, list[int]] = {}
    for frame, (a, b) in itertools.product(FRAMES, itertools.permutations(words, 2)):
        there = {"a": a, "b": b}
        text = frame.format(**there)
        labels = {label for slot, word in there.items() if f"{{{slot}}}" in frame for label in words[word]}
        rows.setdefault(text, sorted(labels))
    return list(rows.items())


def write_rows(
    folder: Path, splits: Mapping[str, Sequence[tuple[str, int] | tuple[str, list[int]]]], labels: list[str]
) -> Path:
    """A `rows` artifact's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        several = any(isinstance(label, list) for _, label in rows)
        table = {
            "key": [hashlib.blake2b(text.encode(), digest_size=16).digest() for text, _ in rows],
            "text": [text for text, _ in rows],
            "label": [label for _, label in rows],
        }
        schema = {"key": pl.Binary, "text": pl.String, "label": pl.List(pl.Int32) if several else pl.Int32}
        pl.DataFrame(table, schema=schema).write_parquet(folder / f"{split}.parquet")
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    return folder


def write_topics(folder: Path, train: int = 240) -> Path:
    """The topics, split at random."""
    return _write_split(folder, topics(), train)


def write_mixed_topics(folder: Path, train: int = 600) -> Path:
    """Some of the mixed topics, split at random."""
    return _write_split(folder, mixed_topics(), train)


def _write_split(folder: Path, rows: Sequence[tuple[str, int] | tuple[str, list[int]]], train: int) -> Path:
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = [rows[position] for position in order]
    splits = {"train": shuffled[:train], "validation": shuffled[train : train + 60], "test": shuffled[-60:]}
    return write_rows(folder, splits, LABELS)


def part_of(examples: Examples, rows: NDArray[np.int64]) -> Part:
    """Some rows of a split as a step takes them, each of which counts 1."""
    return examples.inputs.batch(rows), examples.labels[rows], np.ones(len(rows), np.float32)


def write_model(folder: Path, layers: int = LAYERS) -> Path:
    """A `model` artifact's folder without the preprocessor, which block 4 does not use. Dropout is that of BERT."""
    from tasks.bert import Bert, BertConfig, weights_from_hugging_face
    from tasks.download_model.bert_encoder import save_encoder

    words = sorted({word for text, _ in topics() for word in text.split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    settings = WordPieceSettings(case="lower", longest_word_unit="characters")
    WordPieceTokenizer(vocabulary, settings).save(folder / "tokenizer")
    config = BertConfig(
        model_type="bert",
        hidden_act="gelu",
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=POSITIONS,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    save_encoder(Bert(config, weights_from_hugging_face(config, _weights(config)).items()), folder)
    return folder


def without_layers(model: Path, folder: Path) -> Path:
    """The same model as one that arrived as a SavedModel: nothing tells how its layers are computed."""
    shutil.copytree(model, folder)
    (folder / "architecture.json").unlink()
    return folder


def without_dropout(model: Path, folder: Path) -> Path:
    """The same model with an encoder that drops nothing in training, where it is computed layer by layer."""
    shutil.copytree(model, folder)
    architecture = json.loads((model / "architecture.json").read_bytes())
    architecture["config"] |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "architecture.json").write_text(json.dumps(architecture), encoding="utf-8")
    return folder


def recipe(**changes: Any) -> TrainRecipe:
    """A train section; in float32, so that the same is computed on every processor."""
    exact = {"precision": "float32"} if changes.get("mode") in MEANT_FOR["precision"] else {}
    return TrainRecipe.model_validate({"max_length": MAX_LENGTH} | exact | changes)


def _weights(config: Any) -> dict[str, NDArray[np.float32]]:
    random = np.random.default_rng(0)
    width, wide = config.hidden_size, config.intermediate_size
    weights: dict[str, NDArray[np.float32]] = {}

    def dense(name: str, out: int, into: int) -> None:
        weights[f"{name}.weight"] = random.normal(0, into**-0.5, (out, into)).astype(np.float32)
        weights[f"{name}.bias"] = np.zeros(out, np.float32)

    def norm(name: str) -> None:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    tables = {"word": config.vocab_size, "position": config.max_position_embeddings, "token_type": 2}
    for name, rows in tables.items():
        scale = 1.0 if name == "word" else 0.1
        table = random.normal(0, scale, (rows, width)).astype(np.float32)
        weights[f"embeddings.{name}_embeddings.weight"] = table
    norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(config.num_hidden_layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense(f"{layer}.attention.{part}", width, width)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", wide, width)
        dense(f"{layer}.output.dense", width, wide)
        norm(f"{layer}.output.LayerNorm")
    dense("pooler.dense", width, width)
    return weights
