"""Inspection: what is taken is described truly, and what is not is refused by what was found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubtune.errors import UnsupportedModel
from hubtune.inference.tokenizer import WordPieceTokenizer
from tasks.download_model.inspect_model import ENCODER_INPUTS, inspect
from tasks.download_model.starter import package_folder
from tests.download_model.conftest import SHARED_MODELS, TINY_VOCABULARY, Fetched
from tests.download_model.foreign_models import (
    save_bert_preprocessor,
    save_call,
    save_encoder,
    save_preprocessor,
    save_without_call,
)

pytestmark = pytest.mark.slow

shared = pytest.mark.skipif(not SHARED_MODELS.is_dir(), reason="the models in ../shared are not here")


def look(model: Path, preprocessor: Path | None = None, tokenizer: Path = Path("nowhere")) -> dict[str, Any]:
    return inspect(
        {
            "model": str(model),
            "source": "https://h.org/the-model/1",
            "preprocessor": str(preprocessor) if preprocessor else None,
            "preprocessor_source": "https://h.org/its-preprocessor/1" if preprocessor else None,
            "tokenizer": str(tokenizer),
        },
        print,
    )


def refusal(model: Path, preprocessor: Path | None = None) -> UnsupportedModel:
    with pytest.raises(UnsupportedModel) as caught:
        look(model, preprocessor)
    return caught.value


@shared
@pytest.mark.parametrize(
    ("name", "width", "parameters"),
    [("w2v_googlenews_8k_dim300", 300, 8001 * 300), ("glove_twitter_12k_dim25", 25, 11926 * 25)],
)
def test_text_embeddings_are_taken(name: str, width: int, parameters: int) -> None:
    facts = look(SHARED_MODELS / name)
    assert (facts["interface"], facts["width"], facts["parameters"]) == ("text_embedding", width, parameters)
    assert facts["trainable"]
    assert facts["vocabulary"] is facts["layers"] is facts["max_positions"] is None


@shared
def test_a_text_embedding_takes_no_preprocessor(starter_model: Fetched) -> None:
    error = refusal(SHARED_MODELS / "glove_twitter_12k_dim25", starter_model.folder / "preprocessor")
    assert "takes text itself (string[n] -> float32[n, 25])" in error.what
    assert error.where == "model.preprocessor: https://h.org/its-preprocessor/1"


@shared
def test_a_module_in_tf1_format_is_refused() -> None:
    error = refusal(SHARED_MODELS / "tftext_segmenter_hub_module")
    assert "TF1 Hub's format" in error.what
    assert "signature default (text: string[?]) -> ends: int64[?], logits: float32[?, ?, 2]" in error.what


@shared
def test_a_model_with_signatures_alone_is_refused() -> None:
    error = refusal(SHARED_MODELS / "guesslang_savedmodel")
    assert "signatures alone (no object graph" in error.what
    assert "serving_default (inputs: string[?]) -> classes: string[?, 54], scores: float32[?, 54]" in error.what
    assert "string[n] -> float32[n, width]" in error.remedy
    assert "input_word_ids" in error.remedy


def test_an_object_that_cannot_be_called_is_refused(tmp_path: Path) -> None:
    error = refusal(save_without_call(tmp_path / "model"))
    assert "cannot be called" in error.what
    assert "signature classify (text: string[?]) -> length: int32[?]" in error.what


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ((), "found no file at all"),
        (("weights.h5", "config.json"), "found config.json, weights.h5 (a Keras file"),
        (("model.keras",), "found model.keras (a Keras file"),
        (tuple(f"{number:02}.bin" for number in range(14)), "11.bin, and 2 more files"),
    ],
)
def test_a_folder_without_a_saved_model_is_refused(files: tuple[str, ...], found: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    error = refusal(tmp_path)
    assert "this is no SavedModel" in error.what
    assert found in error.what


def test_damaged_models_are_refused(tiny_hub: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((tiny_hub / "encoder" / "saved_model.pb").read_bytes()[:-1000])
    assert "saved_model.pb" in refusal(tmp_path).what
    (tmp_path / "saved_model.pb").write_bytes((tiny_hub / "encoder" / "saved_model.pb").read_bytes())
    assert "cannot load the SavedModel" in refusal(tmp_path).what


def as_doubles(texts: Any) -> Any:
    import tensorflow as tf

    return tf.cast(tf.strings.length(texts), tf.float64)[:, tf.newaxis]


def as_nothing(texts: Any) -> Any:
    import tensorflow as tf

    return tf.math.log(-tf.cast(tf.strings.length(texts), tf.float32))[:, tf.newaxis]


def as_a_sum(texts: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(tf.strings.length(texts), tf.float32))


def as_named(texts: Any) -> Any:
    return {"embedding": as_a_sum(texts)}


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (as_doubles, "it gave float64[2, 1] instead of a float32 vector for each of 2 texts"),
        (as_nothing, "it gave values that are not numbers"),
        (as_a_sum, "it gave float32[] instead of"),
        (as_named, "it gave embedding instead of"),
    ],
)
def test_other_functions_of_text_are_refused(call: Callable[[Any], Any], found: str, tmp_path: Path) -> None:
    error = refusal(save_call(tmp_path / "model", call))
    assert found in error.what
    assert "found call (string[?]) -> " in error.what


def test_an_encoder_with_other_inputs_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    ids = tf.TensorSpec([None, None], tf.int32)
    model = save_call(tmp_path / "model", lambda inputs: tf.cast(inputs[0], tf.float32), of=[ids, ids, ids])
    assert "found call (int32[?, ?], int32[?, ?], int32[?, ?]) -> float32[?, ?]" in refusal(model).what


def test_an_encoder_with_other_outputs_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    inputs = {name: tf.TensorSpec([None, None], tf.int32) for name in ENCODER_INPUTS}
    model = save_encoder(tmp_path / "model", lambda given, training: {"logits": given["input_mask"]}, inputs)
    assert "it gave logits instead of pooled_output and sequence_output" in refusal(model).what


def test_an_encoder_that_cannot_be_called_as_training_calls_it_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    def encode(given: Any) -> dict[str, Any]:
        sequence = tf.cast(given["input_word_ids"], tf.float32)[:, :, tf.newaxis]
        return {"pooled_output": sequence[:, 0], "sequence_output": sequence}

    inputs = {name: tf.TensorSpec([None, None], tf.int32) for name in ENCODER_INPUTS}
    error = refusal(save_call(tmp_path / "model", encode, of=inputs))
    assert "no BERT-like encoder (called with token ids and training=False: " in error.what
    assert "found call ({input_mask: int32[?, ?], input_type_ids: int32[?, ?]" in error.what
    assert "and `training`" in error.remedy


def test_an_encoder_is_taken_with_its_preprocessor(tiny_hub: Path, tmp_path: Path) -> None:
    assert look(tiny_hub / "encoder", tiny_hub / "preprocessor", tmp_path / "tokenizer") == {
        "interface": "bert_encoder",
        "width": 8,
        "layers": 2,
        "parameters": 2128,
        "trainable": True,
        "vocabulary": len(TINY_VOCABULARY),
        "max_positions": 64,
        "pairs": True,
    }
    assert WordPieceTokenizer.load(tmp_path / "tokenizer").vocabulary_size == len(TINY_VOCABULARY)


def test_an_encoder_needs_a_preprocessor(tiny_hub: Path) -> None:
    error = refusal(tiny_hub / "encoder")
    assert "BERT-like encoder" in error.what
    assert "set model.preprocessor" in error.remedy


def test_a_preprocessor_is_no_model(tiny_hub: Path) -> None:
    assert "it gave input_mask, input_type_ids, input_word_ids instead of" in refusal(tiny_hub / "preprocessor").what


def test_an_encoder_is_no_preprocessor(tiny_hub: Path) -> None:
    error = refusal(tiny_hub / "encoder", tiny_hub / "encoder")
    assert "the preprocessor has no tokenize" in error.what
    assert error.where == "https://h.org/its-preprocessor/1"


def test_a_preprocessor_of_another_encoder_is_refused(tiny_hub: Path, starter_model: Fetched) -> None:
    error = refusal(tiny_hub / "encoder", starter_model.folder / "preprocessor")
    assert f"its vocabulary has 30522 pieces, the encoder embeds {len(TINY_VOCABULARY)}" in error.what


# Of pairs, the one that packs them shortens the longer text in TensorFlow Text's own way.
@pytest.mark.parametrize(("lower_case", "case", "packs"), [(True, "fold", 2), (False, "keep", 1)])
def test_the_preprocessors_of_tf_hub_are_recognised(
    lower_case: bool, case: str, packs: int, starter_model: Fetched, tmp_path: Path
) -> None:
    vocabulary = package_folder() / "vocab.txt"
    preprocessor = save_bert_preprocessor(tmp_path / "preprocessor", vocabulary, lower_case=lower_case, packs=packs)
    facts = look(starter_model.folder / "encoder", preprocessor, tmp_path / "tokenizer")
    assert facts["pairs"] is (packs == 2)
    settings = (tmp_path / "tokenizer" / "wordpiece.json").read_text(encoding="utf-8")
    assert f'"case": "{case}"' in settings
    assert '"longest_word_unit": "bytes"' in settings


def test_a_preprocessor_that_cuts_otherwise_is_refused(starter_model: Fetched, tmp_path: Path) -> None:
    vocabulary = package_folder() / "vocab.txt"
    preprocessor = save_bert_preprocessor(
        tmp_path / "preprocessor", vocabulary, lower_case=True, split_unknown_characters=True
    )
    error = refusal(starter_model.folder / "encoder", preprocessor)
    assert "cuts text in a way that is not known here" in error.what
    assert "from the closest setting (case: fold)" in error.what


def test_a_preprocessor_without_a_wordpiece_vocabulary_is_refused(tiny_hub: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    asset = tmp_path / "30k-clean.model"
    asset.write_bytes(bytes(range(256)))
    preprocessor = save_preprocessor(
        tmp_path / "preprocessor", asset, lambda texts: tf.cast(tf.strings.unicode_decode(texts, "UTF-8"), tf.int32)
    )
    error = refusal(tiny_hub / "encoder", preprocessor)
    assert "no WordPiece vocabulary" in error.what
    assert "its assets: 30k-clean.model (256 bytes)" in error.what


def test_a_preprocessor_that_does_not_pack_is_refused(tiny_hub: Path, tmp_path: Path) -> None:
    vocabulary = package_folder() / "vocab.txt"
    preprocessor = save_bert_preprocessor(tmp_path / "preprocessor", vocabulary, lower_case=True, packs=0)
    assert "the preprocessor has no bert_pack_inputs" in refusal(tiny_hub / "encoder", preprocessor).what
