"""Which preprocessor belongs to which encoder on TF Hub, as the encoders' pages there say."""

import re
from urllib.parse import urlsplit

# Path of the encoder without its version -> path of the preprocessor. ALBERT's is listed although it is not WordPiece:
# the inspection says so, which is better than asking for a preprocessor.
_PREPROCESSORS = (
    (r"tensorflow/(small_bert/)?bert_en_(wwm_)?uncased_L-.+", "tensorflow/bert_en_uncased_preprocess/3"),
    (r"tensorflow/bert_en_(wwm_)?cased_L-.+", "tensorflow/bert_en_cased_preprocess/3"),
    (r"tensorflow/bert_multi_cased_L-.+", "tensorflow/bert_multi_cased_preprocess/3"),
    (r"tensorflow/bert_zh_L-.+", "tensorflow/bert_zh_preprocess/3"),
    (r"tensorflow/talkheads_ggelu_bert_en_(base|large)", "tensorflow/bert_en_uncased_preprocess/3"),
    (r"tensorflow/(lambert|mobilebert)_en_uncased_L-.+", "tensorflow/bert_en_uncased_preprocess/3"),
    (r"tensorflow/albert_en_(base|large|xlarge|xxlarge)", "tensorflow/albert_en_preprocess/3"),
    (r"google/electra_(small|base|large)", "tensorflow/bert_en_uncased_preprocess/3"),
    (r"google/experts/bert/.+", "tensorflow/bert_en_uncased_preprocess/3"),
    (r"google/universal-sentence-encoder-cmlm/en-(base|large)", "tensorflow/bert_en_uncased_preprocess/3"),
    (
        r"google/(LaBSE|universal-sentence-encoder-cmlm/multilingual-base(-br)?)",
        "google/universal-sentence-encoder-cmlm/multilingual-preprocess/2",
    ),
    (r"google/MuRIL", "google/MuRIL_preprocess/1"),
)


def preprocessor_of(handle: str) -> str | None:
    """The preprocessor of a well-known encoder.

    Args:
        handle: the encoder's address, on tfhub.dev or on a server that mirrors it under the same paths.

    Returns:
        The preprocessor's address on the same server; None where the handle is no such address or unknown.
    """
    scheme, host, path, _, _ = urlsplit(handle)
    if scheme not in ("http", "https"):
        return None
    for encoder, preprocessor in _PREPROCESSORS:
        known = re.fullmatch(rf"(?P<mirror>/(?:.*/)?){encoder}/\d+/?", path)
        if known:
            return f"{scheme}://{host}{known['mirror']}{preprocessor}"
    return None
