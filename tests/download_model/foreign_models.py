"""SavedModels of other makes, saved for real: what may arrive, and what must be refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def save_call(folder: Path, call: Callable[[Any], Any], *, of: Any = None) -> Path:
    """A SavedModel that can be called, with strings unless `of` says otherwise."""
    import tensorflow as tf

    module = tf.train.Checkpoint()
    specification = tf.TensorSpec([None], tf.string, name="text") if of is None else of
    module.__call__ = tf.function(call, input_signature=[specification], autograph=False)
    tf.saved_model.save(module, str(folder))
    return folder


def save_encoder(folder: Path, call: Callable[[Any, bool], Any], inputs: dict[str, Any]) -> Path:
    """A SavedModel that takes features and `training`, as TF Hub's encoders do."""
    import tensorflow as tf

    module = tf.train.Checkpoint()
    module.__call__ = tf.function(call, autograph=False)
    for training in (False, True):
        module.__call__.get_concrete_function(inputs, training=training)
    tf.saved_model.save(module, str(folder))
    return folder


def save_without_call(folder: Path) -> Path:
    import tensorflow as tf

    module = tf.Module()
    module.classify = tf.function(
        lambda text: {"length": tf.strings.length(text)}, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(folder), signatures={"classify": module.classify})
    return folder


def save_preprocessor(
    folder: Path, asset: Path, tokenize: Callable[[Any], Any], *, table: Any = None, packs: int = 2
) -> Path:
    """A preprocessor as TF Hub's are: `tokenize` gives ragged ids, the asset is saved beside it; it packs one text, or
    up to two, or has nothing to pack with.
    """
    import tensorflow as tf
    import tensorflow_text as tf_text

    text = tf.TensorSpec([None], tf.string)
    module = tf.train.Checkpoint(asset=tf.saved_model.Asset(str(asset)))
    if table is not None:
        module.table = table
    module.tokenize = tf.train.Checkpoint()
    module.tokenize.__call__ = tf.function(tokenize, input_signature=[text], autograph=False)

    @tf.function(autograph=False)
    def pack(inputs: list[Any], seq_length: Any = 128) -> dict[str, Any]:
        room = seq_length - len(inputs) - 1
        trimmed = tf_text.RoundRobinTrimmer(room).trim([segment.merge_dims(1, -1) for segment in inputs])
        ids, types = tf_text.combine_segments(trimmed, 101, 102)
        word_ids, mask = tf_text.pad_model_inputs(ids, seq_length)
        type_ids, _ = tf_text.pad_model_inputs(types, seq_length)
        packed = {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": type_ids}
        return {name: tf.cast(value, tf.int32) for name, value in packed.items()}

    for texts in range(1, packs + 1):
        segment = tf.RaggedTensorSpec([None, None, None], tf.int32, ragged_rank=2)
        pack.get_concrete_function([segment] * texts, tf.TensorSpec([], tf.int32))
    if packs:
        module.bert_pack_inputs = tf.train.Checkpoint()
        module.bert_pack_inputs.__call__ = pack
    module.__call__ = tf.function(lambda texts: pack([tokenize(texts)], 128), input_signature=[text], autograph=False)
    tf.saved_model.save(module, str(folder))
    return folder


def save_bert_preprocessor(folder: Path, vocabulary: Path, *, packs: int = 2, **options: Any) -> Path:
    """A preprocessor made with TensorFlow Text's BertTokenizer, which is what TF Hub's own are made with."""
    import tensorflow as tf
    import tensorflow_text as tf_text

    lines = tf.lookup.TextFileIndex
    initializer = tf.lookup.TextFileInitializer(
        str(vocabulary), tf.string, lines.WHOLE_LINE, tf.int64, lines.LINE_NUMBER
    )
    table = tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=1)
    tokenizer = tf_text.BertTokenizer(table, token_out_type=tf.int32, **options)
    return save_preprocessor(folder, vocabulary, tokenizer.tokenize, table=table, packs=packs)
