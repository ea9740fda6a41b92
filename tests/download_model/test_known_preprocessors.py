"""Which preprocessor goes with which encoder."""

import pytest

from tasks.download_model.known_preprocessors import preprocessor_of

UNCASED = "tensorflow/bert_en_uncased_preprocess/3"
CASED = "tensorflow/bert_en_cased_preprocess/3"
MULTILINGUAL = "google/universal-sentence-encoder-cmlm/multilingual-preprocess/2"


@pytest.mark.parametrize(
    ("encoder", "preprocessor"),
    [
        ("tensorflow/bert_en_uncased_L-12_H-768_A-12/4", UNCASED),
        ("tensorflow/bert_en_wwm_uncased_L-24_H-1024_A-16/3", UNCASED),
        ("tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/2", UNCASED),
        ("tensorflow/bert_en_cased_L-12_H-768_A-12/3", CASED),
        ("tensorflow/bert_en_wwm_cased_L-24_H-1024_A-16/3", CASED),
        ("tensorflow/bert_multi_cased_L-12_H-768_A-12/3", "tensorflow/bert_multi_cased_preprocess/3"),
        ("tensorflow/bert_zh_L-12_H-768_A-12/4", "tensorflow/bert_zh_preprocess/3"),
        ("tensorflow/talkheads_ggelu_bert_en_base/1", UNCASED),
        ("tensorflow/lambert_en_uncased_L-24_H-1024_A-16/2", UNCASED),
        ("tensorflow/albert_en_base/2", "tensorflow/albert_en_preprocess/3"),
        ("google/electra_small/2", UNCASED),
        ("google/experts/bert/pubmed/2", UNCASED),
        ("google/experts/bert/wiki_books/sst2/2", UNCASED),
        ("google/LaBSE/2", MULTILINGUAL),
        ("google/universal-sentence-encoder-cmlm/multilingual-base/1", MULTILINGUAL),
        ("google/universal-sentence-encoder-cmlm/en-base/1", UNCASED),
        ("google/MuRIL/1", "google/MuRIL_preprocess/1"),
    ],
)
@pytest.mark.parametrize("server", ["https://tfhub.dev/", "http://127.0.0.1:8000/mirror/of/"])
def test_well_known_encoders(server: str, encoder: str, preprocessor: str) -> None:
    assert preprocessor_of(f"{server}{encoder}") == f"{server}{preprocessor}"


@pytest.mark.parametrize(
    "handle",
    [
        "https://tfhub.dev/google/nnlm-en-dim128/2",
        "https://tfhub.dev/google/universal-sentence-encoder/4",
        "https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3",
        "https://tfhub.dev/somebody/bert_en_uncased_L-12_H-768_A-12/1",
        "https://tfhub.dev/tensorflow/bert_en_uncased_L-12_H-768_A-12",
        "models/tensorflow/bert_en_uncased_L-12_H-768_A-12/4",
        "starter",
    ],
)
def test_others_are_not_known(handle: str) -> None:
    assert preprocessor_of(handle) is None
