"""The SavedModel: text in, labels and probabilities out, in the layout that TensorFlow Serving polls."""

import json
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hubtune.inference.classifier import DECISION
from hubtune.inference.replacements import Replacement
from tasks.publish.classifier_graph import ClassifierGraph, Tensor
from tasks.saved_model_bytes import save_reproducibly
from tasks.text_graph import tf_normalise


def export_saved_model(
    classifier: ClassifierGraph, model: Path, folder: Path, replace: Collection[Replacement]
) -> None:
    """Write `saved_model.pb`, `variables/` and `assets/`.

    The signature `serving_default` takes `text` (string[n]; and `text_pair` where texts are pairs) and gives `label`
    (string[n]) and `probabilities` (float32[n, classes]); the classes' names in that order are in `assets/labels.json`.
    With `multilabel` it gives, in the place of `label`, `labels` (string[n, classes]): a class's name where the text
    belongs to it, "" where it does not. The model needs TensorFlow and TensorFlow Text, and nothing of what it was made
    from.

    Args:
        classifier: what to export.
        model: folder of the model artifact, for an encoder's preprocessor.
        folder: where the files go.
        replace: what is replaced in the texts.
    """
    import tensorflow as tf

    labels = tf.constant(classifier.trained.labels)
    exported = tf.Module()
    exported.head = classifier.head
    if classifier.trained.interface == "bert_encoder":
        exported.preprocessor = tf.saved_model.load(str(model / "preprocessor"))
        # The variables without the object that they came in: its other functions (training, for instance) stay behind.
        exported.encoder = list(classifier.pretrained.variables)
    else:
        exported.module = classifier.pretrained

    inputs = ["text", "text_pair"] if classifier.trained.pairs else ["text"]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=name) for name in inputs], autograph=False)
    def serve(*texts: Tensor) -> dict[str, Tensor]:
        normalised = [tf_normalise(each, replace) for each in texts]
        if classifier.trained.interface == "bert_encoder":
            vectors = _encode(classifier, exported.preprocessor, normalised)
        else:
            vectors = classifier.pretrained(*normalised)
        probabilities = classifier.classify(vectors)
        if classifier.trained.task == "multilabel":
            return {"labels": tf.where(probabilities >= DECISION, labels, ""), "probabilities": probabilities}
        return {"label": tf.gather(labels, tf.argmax(probabilities, axis=1)), "probabilities": probabilities}

    with tempfile.TemporaryDirectory() as scratch:
        names = Path(scratch) / "labels.json"
        names.write_text(json.dumps(classifier.trained.labels, ensure_ascii=False) + "\n", encoding="utf-8")
        exported.labels = tf.saved_model.Asset(str(names))
        save_reproducibly(exported, folder, {"serving_default": serve})


def _encode(classifier: ClassifierGraph, preprocessor: Any, texts: list[Tensor]) -> Tensor:
    import tensorflow as tf

    length = tf.constant(classifier.trained.max_length)
    packed = preprocessor.bert_pack_inputs([preprocessor.tokenize(each) for each in texts], seq_length=length)
    ids, mask, types = (packed[name] for name in ("input_word_ids", "input_mask", "input_type_ids"))
    # Padding is at the end, and masked: without what all texts share of it, short texts are answered much faster.
    # At least 1: the largest of no lengths at all, in an empty batch, would be negative.
    longest = tf.maximum(tf.reduce_max(tf.reduce_sum(mask, axis=1)), 1)
    types = types[:, :longest] if classifier.trained.pairs else None
    return classifier.encode(ids[:, :longest], mask[:, :longest], types)
