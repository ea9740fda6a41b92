"""Finds out what arrived: loads it, calls it, and looks at the answers. Nothing is believed because of its name.

Runs in a process of its own (`tasks.fresh_process`), which a foreign SavedModel may crash.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubtune.errors import UnsupportedModel
from hubtune.progress import Say
from schemas.handoff import ModelFacts
from tasks.download_model.load_saved_model import describe, first_line, load_callable
from tasks.download_model.wordpiece_preprocessor import tokenizer_of
from tasks.fresh_process import serve

ENCODER_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
_SUPPORTED = (
    "use a text embedding (a callable SavedModel, string[n] -> float32[n, width]) or a BERT-like encoder (a callable "
    f"SavedModel that takes a dict of {', '.join(ENCODER_INPUTS)}, and `training`)"
)
_TEXTS = ("What is the capital of France?", "Plants grow towards the light.")
_PROBED_LENGTH = 8


def inspect(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Inspect a model and, where it is a BERT-like encoder, its preprocessor.

    Args:
        request: `model`, its folder, and `source`, the handle it came from; `preprocessor` and `preprocessor_source`,
            the same for the preprocessor, or None; `tokenizer`, the folder to write an encoder's tokenizer to.
        say: takes progress lines.

    Returns:
        `ModelFacts` as JSON values.

    Raises:
        UnsupportedModel: it is of a kind that cannot be retrained here; names what was found.
    """
    folder, source = Path(request["model"]), request["source"]
    model = load_callable(folder, source, _SUPPORTED)
    as_embedding, as_encoder = _embed(model), _encode(model)
    if isinstance(as_embedding, int):
        facts = _text_embedding(model, as_embedding, request)
    elif isinstance(as_encoder, Mapping):
        facts = _bert_encoder(model, as_encoder, request)
    else:
        raise UnsupportedModel(
            f"this SavedModel is no text embedding ({as_embedding}) and no BERT-like encoder ({as_encoder}); found "
            f"{describe(folder, model)}",
            where=source,
            remedy=_SUPPORTED,
        )
    layers = f", {facts.layers} layers" if facts.layers else ""
    say(f"Found: {facts.interface}, {facts.width} wide{layers}, {facts.parameters:,} parameters")
    return facts.model_dump()


def _text_embedding(model: Any, width: int, request: dict[str, Any]) -> ModelFacts:
    if request["preprocessor"]:
        raise UnsupportedModel(
            f"the model takes text itself (string[n] -> float32[n, {width}]): no preprocessor goes with it",
            where=f"model.preprocessor: {request['preprocessor_source']}",
            remedy="leave model.preprocessor empty",
        )
    return ModelFacts(
        interface="text_embedding",
        width=width,
        parameters=_parameters(model),
        trainable=bool(getattr(model, "trainable_variables", ())),
    )


def _bert_encoder(model: Any, outputs: Mapping[str, Any], request: dict[str, Any]) -> ModelFacts:
    source, preprocessor_source = request["source"], request["preprocessor_source"]
    if not request["preprocessor"]:
        raise UnsupportedModel(
            "the model is a BERT-like encoder, and it is not known which preprocessor belongs to it",
            where=source,
            remedy="set model.preprocessor to the handle of its preprocessor (the encoder's page on its hub names it)",
        )
    tokenizer, packs_pairs = tokenizer_of(Path(request["preprocessor"]), preprocessor_source)
    embedded = _rows(model, "word_embedding")
    if embedded is not None and embedded < tokenizer.vocabulary_size:
        raise UnsupportedModel(
            f"the preprocessor does not belong to the encoder: its vocabulary has {tokenizer.vocabulary_size} pieces, "
            f"the encoder embeds {embedded}",
            where=f"model.preprocessor: {preprocessor_source}; model.source: {source}",
            remedy="set model.preprocessor to the one that the encoder's page on its hub names",
        )
    tokenizer.save(Path(request["tokenizer"]))
    layers = outputs.get("encoder_outputs")
    return ModelFacts(
        interface="bert_encoder",
        width=outputs["pooled_output"].shape[-1],
        layers=len(layers) if layers is not None else None,
        parameters=_parameters(model),
        trainable=bool(getattr(model, "trainable_variables", ())),
        vocabulary=tokenizer.vocabulary_size,
        max_positions=_rows(model, "position_embedding"),
        pairs=packs_pairs and _reads_segments(model),
    )


def _reads_segments(model: Any) -> bool:
    import tensorflow as tf

    known = _rows(model, "type_embedding")
    if known is not None and known < 2:
        return False
    types = tf.tile([[0, 1]], [len(_TEXTS), _PROBED_LENGTH // 2])
    try:
        features = {name: types if name == "input_type_ids" else tf.ones_like(types) for name in ENCODER_INPUTS}
        outputs = model(features, training=False)
    except Exception:  # whatever a foreign model raises where it has no vector for a second segment
        return False
    return bool(tf.reduce_all(tf.math.is_finite(outputs["sequence_output"])))


def _embed(model: Any) -> int | str:
    """The width of the vectors that the model gives for texts; or why it is no text embedding."""
    import tensorflow as tf

    try:
        vectors = model(tf.constant(_TEXTS))
    except Exception as error:  # whatever a foreign model raises when it is called
        return f"called with texts: {first_line(error)}"
    wanted = f"a float32 vector for each of {len(_TEXTS)} texts"
    if not tf.is_tensor(vectors) or isinstance(vectors, tf.RaggedTensor):
        names = ", ".join(sorted(vectors)) if isinstance(vectors, Mapping) else type(vectors).__name__
        return f"called with texts, it gave {names} instead of {wanted}"
    if vectors.dtype != tf.float32 or vectors.shape.rank != 2 or vectors.shape[0] != len(_TEXTS):
        return f"called with texts, it gave {vectors.dtype.name}{vectors.shape.as_list()} instead of {wanted}"
    if not bool(tf.reduce_all(tf.math.is_finite(vectors))):
        return "called with texts, it gave values that are not numbers"
    return int(vectors.shape[1])


def _encode(model: Any) -> Mapping[str, Any] | str:
    """What the model gives for token ids; or why it is no encoder."""
    import tensorflow as tf

    shape = [len(_TEXTS), _PROBED_LENGTH]
    try:
        features = {name: tf.fill(shape, 0 if name == "input_type_ids" else 1) for name in ENCODER_INPUTS}
        # The very call that training makes: one that only takes the features is found out here, not there.
        outputs = model(features, training=False)
    except Exception as error:  # whatever a foreign model raises when it is called
        return f"called with token ids and training=False: {first_line(error)}"
    given: Mapping[str, Any] = outputs if isinstance(outputs, Mapping) else {}
    if not all(tf.is_tensor(given.get(name)) for name in ("pooled_output", "sequence_output")):
        names = ", ".join(sorted(given)) or type(outputs).__name__
        return f"called with token ids, it gave {names} instead of pooled_output and sequence_output"
    pooled, sequence = given["pooled_output"], given["sequence_output"]
    if pooled.shape.rank != 2 or sequence.shape.as_list() != [*shape, pooled.shape[1]]:
        shapes = f"pooled_output {pooled.shape.as_list()} and sequence_output {sequence.shape.as_list()}"
        return f"called with token ids of shape {shape}, it gave {shapes}"
    if not all(bool(tf.reduce_all(tf.math.is_finite(output))) for output in (pooled, sequence)):
        return "called with token ids, it gave values that are not numbers"
    return given


def _parameters(model: Any) -> int:
    return sum(int(variable.shape.num_elements()) for variable in getattr(model, "variables", ()))


def _rows(model: Any, name: str) -> int | None:
    """Rows of the one matrix among the model's variables with this name in its own; None if there is not just one."""
    tables = [v for v in getattr(model, "variables", ()) if name in v.name and v.shape.rank == 2]
    return int(tables[0].shape[0]) if len(tables) == 1 else None


if __name__ == "__main__":
    serve(inspect)
