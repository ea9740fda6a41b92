"""Texts -> text vectors of a frozen encoder. Each distinct text is embedded once, ever."""

from pathlib import Path

import numpy as np

from hubtune.errors import TrainingFailed
from hubtune.progress import Say
from schemas.handoff import SPLITS, EmbeddingsFacts, ModelFacts
from schemas.train_recipe import TrainRecipe
from tasks.retrain.embeddings import Keys, places_of, write_embeddings
from tasks.retrain.encoder import load_encoder
from tasks.retrain.examples import Texts, TokenIds, are_pairs, read_examples
from tasks.retrain.forward import forward
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow


def embed(
    model: Path,
    facts: ModelFacts,
    texts: Path,
    wanted: Keys,
    recipe: TrainRecipe,
    folder: Path,
    say: Say,
) -> EmbeddingsFacts:
    """Compute the vectors of some texts.

    Args:
        model: a `model` artifact.
        facts: its facts.
        texts: a `tokens` artifact for a BERT-like encoder, a `rows` artifact for a text-embedding module.
        wanted: uint8[n, 16], the hash of each text that is to be embedded, distinct and in the order of their bytes.
        recipe: pooling.
        folder: where the content of the new `embeddings` artifact is written.
        say: takes progress lines.

    Returns:
        How many vectors were written.

    Raises:
        TrainingFailed: the encoder gave a vector that is not finite.
    """
    splits = [read_examples(texts, split) for split in SPLITS]
    places = places_of(wanted, np.concatenate([examples.keys for examples in splits]))
    tf = start_tensorflow()
    chained = _chain([examples.inputs for examples in splits])
    encoder = load_encoder(model, facts, recipe, Plan(0, None), pairs=are_pairs(chained))
    compute = tf.function(
        lambda features: encoder.text_vectors(features, None), input_signature=[encoder.signature], autograph=False
    )
    inputs = chained.select(places)
    vectors = forward(compute, inputs, encoder.width, say, "Embedding")
    if not np.isfinite(vectors).all():
        raise TrainingFailed(
            f"the encoder gives vectors that are not finite for {(~np.isfinite(vectors).all(axis=1)).sum():,} texts",
            where="model.source",
            remedy="the model's files are damaged or do not belong together: fetch it again, or use another",
        )
    write_embeddings(folder, wanted, vectors)
    return EmbeddingsFacts(texts=len(wanted), width=vectors.shape[1])


def _chain(parts: list[TokenIds | Texts]) -> TokenIds | Texts:
    """The inputs of all splits, one after the other."""
    ids = [part for part in parts if isinstance(part, TokenIds)]
    if ids:
        ends = np.cumsum([0, *(len(part.values) for part in ids)])
        offsets = [part.offsets[1:] + start for part, start in zip(ids, ends[:-1], strict=True)]
        firsts = [part.firsts for part in ids if part.firsts is not None]
        return TokenIds(
            np.concatenate([part.values for part in ids]),
            np.concatenate([[0], *offsets]),
            np.concatenate(firsts) if firsts else None,
        )
    return Texts([text for part in parts if isinstance(part, Texts) for text in part.values])
