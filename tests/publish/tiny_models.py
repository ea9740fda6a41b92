"""Makes small but real inputs of block 5: `python -m tests.publish.tiny_models FOLDER`.

For each kind the folders of a `model`, a `classifier` and, of those that are released, an `evaluation` artifact, and
one `rows` folder for all; of `multilabel` and `pairs`, which share the model of `feature_extraction`, the `rows` are
their own.
What the classifier answers is computed here without the code under test: every text padded to the full length, and
the head in NumPy.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import save_file

from hubtune.inference.normalise import normalise
from hubtune.inference.pairs import join_pair
from hubtune.inference.tokenizer import WordPieceSettings, WordPieceTokenizer
from schemas.recipe import EvaluateRecipe
from schemas.train_recipe import Task
from tasks.evaluate.evaluate import evaluate
from tests.inference.awkward_texts import AWKWARD_TEXTS

LABELS = ["sincere", "insincere", "neither | nor"]
REPLACE = ["html_entities", "urls", "users"]
SETS = [[0], [1, 2], [], [0, 1, 2], [2], [0, 2]]
WIDTH, MAX_LENGTH = 16, 24
TOPICS = ["plants", "taxes", "the moon", "old maps", "bread", "rivers", "my cousin's cat", "glaciers", "violins"]
FORMS = [
    "Why do {} change so much?",
    "who still believes in {}",
    "What is known about {} - and what is not, after all these years of asking the very same question about {}?",
    "{}!",
    "Isn't it obvious that {} were a mistake?",
]
TEXTS = [form.format(*[topic] * form.count("{}")) for form in FORMS for topic in TOPICS]


def main(folder: Path) -> None:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    texts = [normalise(text) for text in TEXTS]
    keys = [number.to_bytes(16, "big") for number in range(len(texts))]
    labels: list[Any] = [number % len(LABELS) for number in range(len(texts))]
    table = _rows(folder / "rows", keys, texts, pl.Series(labels, dtype=pl.Int32))
    (folder / "rows" / "replace.json").write_text(json.dumps(REPLACE))
    sets: list[Any] = [SETS[number % len(SETS)] for number in range(len(texts))]
    several = _rows(folder / "multilabel" / "rows", keys, texts, pl.Series(sets, dtype=pl.List(pl.Int32)))

    generator = np.random.default_rng(7)
    for kind in ("fine_tuning", "feature_extraction", "no_onnx_counterpart"):
        encoder, tokenizer, description = _bert(
            folder / kind / "model", folder / kind / "classifier", kind, texts, generator
        )
        vectors = _vectors(encoder, tokenizer.encode(texts, MAX_LENGTH), description["pooling"])
        _classifier(folder / kind / "classifier", description, vectors, table, generator)
        if kind == "feature_extraction":
            shared = encoder, tokenizer, description, vectors
    model, classifier = folder / "text_embedding" / "model", folder / "text_embedding" / "classifier"
    vectors, description = _text_embedding(model, classifier, texts, generator)
    _classifier(classifier, description, vectors, table, generator)
    encoder, tokenizer, description, vectors = shared
    _classifier(folder / "multilabel" / "classifier", description, vectors, several, generator)
    pairs = list(zip(texts, texts[7:] + texts[:7], strict=True))
    joined = [join_pair(*pair) for pair in pairs]
    paired = _rows(folder / "pairs" / "rows", keys, joined, pl.Series(labels, dtype=pl.Int32))
    vectors = _vectors(encoder, [_packed(tokenizer, *pair) for pair in pairs], description["pooling"], pairs=True)
    _classifier(folder / "pairs" / "classifier", description | {"pairs": True}, vectors, paired, generator)
    judged: list[tuple[str, Task, Path]] = [
        ("fine_tuning", "multiclass", folder / "rows"),
        ("text_embedding", "multiclass", folder / "rows"),
        ("multilabel", "multilabel", folder / "multilabel" / "rows"),
        ("pairs", "multiclass", folder / "pairs" / "rows"),
    ]
    for kind, task, rows in judged:
        evaluation = folder / kind / "evaluation"
        evaluation.mkdir()
        evaluate(rows, folder / kind / "classifier", EvaluateRecipe(), "macro_f1", evaluation, print, task)


def _rows(folder: Path, keys: list[bytes], texts: list[str], labels: pl.Series) -> pl.DataFrame:
    folder.mkdir(parents=True)
    columns = {"key": pl.Series(keys, dtype=pl.Binary), "text": pl.Series(texts, dtype=pl.String), "label": labels}
    table = pl.DataFrame(columns)
    for split in ("train", "validation", "test"):
        table.write_parquet(folder / f"{split}.parquet")
    (folder / "labels.json").write_text(json.dumps(LABELS))
    return table


def _bert(
    model: Path, classifier: Path, kind: str, texts: list[str], generator: np.random.Generator
) -> tuple[Any, WordPieceTokenizer, dict[str, Any]]:
    import tensorflow as tf

    from tasks.bert import Bert, BertConfig, weights_from_hugging_face
    from tasks.download_model.bert_encoder import save_encoder
    from tasks.download_model.bert_preprocessor import build_preprocessor

    characters = "".join([*texts, *map(normalise, AWKWARD_TEXTS.values())]).lower()
    pieces = sorted(set(characters) - {" "})
    words = sorted({word.strip("?!,.-") for text in texts for word in text.lower().split()} - {""} - set(pieces))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces, *(f"##{piece}" for piece in pieces), *words]
    settings = WordPieceSettings(case="lower", longest_word_unit="characters")
    tokenizer = WordPieceTokenizer(vocabulary, settings)
    tokenizer.save(model / "tokenizer")
    shared = model.parents[1] / "preprocessor"
    if not shared.exists():
        tf.saved_model.save(build_preprocessor(model / "tokenizer" / "vocab.txt", settings), str(shared))
    shutil.copytree(shared, model / "preprocessor")
    config = BertConfig(
        model_type="bert",
        hidden_act="gelu",
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=64,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    bert = Bert(config, weights_from_hugging_face(config, _RandomWeights(config, generator)).items())
    if kind == "fine_tuning":  # GELU as Keras exports it, through Erfc
        bert.gelu = lambda x: tf.nn.gelu(x, approximate=False)
    elif kind == "no_onnx_counterpart":
        bert.gelu = lambda x: tf.math.lgamma(1.5 + tf.sigmoid(x))
    save_encoder(bert, model)
    encoder = tf.saved_model.load(str(model / "encoder"))

    variables = []
    if kind == "fine_tuning":
        for variable in encoder.trainable_variables:
            variable.assign_add(generator.normal(scale=0.2, size=variable.shape).astype(np.float32))
        variables = [variable.name for variable in encoder.trainable_variables]
        classifier.mkdir()
        values = {variable.name: variable.numpy() for variable in encoder.trainable_variables}
        save_file(values, classifier / "encoder.safetensors")
    pooling = "mean" if kind == "fine_tuning" else "max"
    description = {"interface": "bert_encoder", "pooling": pooling, "variables": variables, "width": WIDTH}
    return encoder, tokenizer, description


def _packed(tokenizer: WordPieceTokenizer, first: str, second: str) -> list[int]:
    """A pair's ids, cut one by one: off the end of whichever text is longer, the second where they are as long."""
    one, other = (ids[1:-1] for ids in tokenizer.encode([first, second], 10**6))
    while len(one) + len(other) > MAX_LENGTH - 3:
        (one if len(one) > len(other) else other).pop()
    return [2, *one, 3, *other, 3]


def _vectors(encoder: Any, texts: list[list[int]], pooling: str, *, pairs: bool = False) -> NDArray[np.float32]:
    import tensorflow as tf

    ids = np.zeros((len(texts), MAX_LENGTH), np.int32)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
        if pairs:
            types[row, text.index(3) + 1 : len(text)] = 1
    features = {"input_word_ids": ids, "input_mask": mask, "input_type_ids": types}
    outputs = encoder({name: tf.constant(value) for name, value in features.items()}, training=False)
    tokens = outputs["sequence_output"].numpy()
    pooled = np.mean if pooling == "mean" else np.max
    return np.array([pooled(tokens[row, : mask[row].sum()], axis=0) for row in range(len(texts))])


def _text_embedding(
    model: Path, classifier: Path, texts: list[str], generator: np.random.Generator
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    import tensorflow as tf

    words = sorted({word for text in texts for word in text.split()})[::2]
    module = tf.train.Checkpoint()
    module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(words, range(len(words))), len(words))
    module.vectors = tf.Variable(generator.normal(size=(len(words) + 1, WIDTH)).astype(np.float32), name="vectors")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def embed(sentences: Any) -> Any:
        ids = tf.ragged.map_flat_values(module.table.lookup, tf.strings.split(sentences))
        return tf.reduce_sum(tf.gather(module.vectors, ids), axis=1)

    module.__call__ = embed
    module.variables = module.trainable_variables = [module.vectors]
    tf.saved_model.save(module, str(model / "module"))
    module.vectors.assign(-module.vectors.numpy())
    classifier.mkdir()
    save_file({module.vectors.name: module.vectors.numpy()}, classifier / "encoder.safetensors")
    position = {word: row for row, word in enumerate(words)}
    table = module.vectors.numpy()
    vectors = np.array([sum(table[position.get(word, len(words))] for word in text.split()) for text in texts])
    variables = [module.vectors.name]
    return vectors, {"interface": "text_embedding", "pooling": "mean", "variables": variables, "width": WIDTH}


def _classifier(
    folder: Path,
    description: dict[str, Any],
    vectors: NDArray[np.float32],
    rows: pl.DataFrame,
    generator: np.random.Generator,
) -> None:
    folder.mkdir(exist_ok=True)
    hidden = [8] if description["variables"] else []
    names = [*(f"dense_{number}" for number in range(len(hidden))), "logits"]
    head: dict[str, NDArray[np.float32]] = {}
    x = vectors.astype(np.float64)
    for name, fan_in, fan_out in zip(names, [WIDTH, *hidden], [*hidden, len(LABELS)], strict=True):
        kernel = generator.normal(size=(fan_in, fan_out)).astype(np.float32)
        # The mean logit of each class is 0, so that every class is predicted somewhere.
        bias = -(x @ kernel).mean(axis=0).astype(np.float32)
        head |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
        x = x @ kernel + bias
        if name != "logits":
            x = np.maximum(x, 0)
    save_file(head, folder / "head.safetensors")
    assert len(set(x.argmax(axis=1))) == len(LABELS)
    (folder / "answers").mkdir()
    answers = rows.select("key", "label").with_columns(logits=pl.Series(x.tolist(), dtype=pl.List(pl.Float32)))
    for split in ("validation", "test"):
        answers.write_parquet(folder / "answers" / f"{split}.parquet")
    epoch = {"epoch": 1, "step": 2, "learning_rate": 1e-3, "train_loss": 1.0, "best": True}
    watched = {"loss": 1.25, "accuracy": 0.5, "macro_f1": 0.5}
    (folder / "history.json").write_text(json.dumps([epoch | {"validation": watched}]))
    mode = "fine_tuning" if description["variables"] else "feature_extraction"
    description |= {"mode": mode, "labels": LABELS, "hidden": hidden, "activation": "relu"}
    description |= {"layers": None, "max_length": MAX_LENGTH}
    description |= {"task": "multilabel" if rows["label"].dtype == pl.List else "multiclass"}
    (folder / "classifier.json").write_text(json.dumps(description))


class _RandomWeights(dict[str, Any]):
    """Weights under the names of Hugging Face's BertModel, made up when they are asked for."""

    def __init__(self, config: Any, generator: np.random.Generator) -> None:
        self._config, self._generator = config, generator

    def __missing__(self, name: str) -> NDArray[np.float32]:
        config = self._config
        if name.endswith("LayerNorm.weight"):
            return np.ones(config.hidden_size, np.float32)
        rows = {
            "embeddings.word_embeddings.weight": config.vocab_size,
            "embeddings.position_embeddings.weight": config.max_position_embeddings,
            "embeddings.token_type_embeddings.weight": config.type_vocab_size,
        }
        wide_out = ".intermediate.dense." in name
        wide_in = name.endswith(".output.dense.weight") and ".attention." not in name
        out = rows.get(name, config.intermediate_size if wide_out else config.hidden_size)
        width = config.intermediate_size if wide_in else config.hidden_size
        shape = (out, width) if name.endswith(".weight") else (out,)
        return self._generator.normal(scale=0.4, size=shape).astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
