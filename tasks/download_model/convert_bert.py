"""Converts a BERT model from Hugging Face's form to two SavedModels with TF Hub's text interface.

Runs in a process of its own (`tasks.fresh_process`), because only then equal inputs give equal bytes.
"""

import json
from pathlib import Path
from typing import Any

from hubtune.errors import UnsupportedModel
from hubtune.inference.tokenizer import WordPieceSettings
from hubtune.progress import Say
from tasks.bert import Bert, BertConfig, weights_from_hugging_face
from tasks.download_model.bert_encoder import save_encoder
from tasks.download_model.bert_preprocessor import build_preprocessor
from tasks.download_model.inspect_model import inspect
from tasks.fresh_process import serve
from tasks.saved_model_bytes import save_reproducibly


def convert(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Convert one model.

    Args:
        request: `source`, a folder with config.json, tokenizer_config.json, vocab.txt and model.safetensors; `folder`,
            where `encoder/`, `preprocessor/` and `tokenizer/` are written.
        say: takes progress lines.

    Returns:
        What the inspection finds out about the model, as for any other that arrives.

    Raises:
        UnsupportedModel: a BERT variant whose computation is another one.
    """
    from safetensors.numpy import load_file

    source = Path(request["source"])
    config = BertConfig.model_validate_json((source / "config.json").read_bytes())
    _check(config, source)
    lower_case = json.loads((source / "tokenizer_config.json").read_bytes()).get("do_lower_case", True)
    settings = WordPieceSettings(case="lower" if lower_case else "keep", longest_word_unit="characters")
    folder = Path(request["folder"])
    encoder, preprocessor = folder / "encoder", folder / "preprocessor"
    say(f"Converting {config.num_hidden_layers} layers, {config.hidden_size} wide, to a SavedModel")
    weights = weights_from_hugging_face(config, load_file(source / "model.safetensors"))
    save_encoder(Bert(config, weights.items()), folder)
    say("Converting the tokenizer to a SavedModel")
    save_reproducibly(build_preprocessor(source / "vocab.txt", settings), preprocessor)
    say("Inspecting the converted model")
    return inspect(
        {
            "model": str(encoder),
            "source": str(source),
            "preprocessor": str(preprocessor),
            "preprocessor_source": str(source),
            "tokenizer": str(folder / "tokenizer"),
        },
        say,
    )


def _check(config: BertConfig, source: Path) -> None:
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for field, value in expected.items():
        found = getattr(config, field)
        if found != value:
            raise UnsupportedModel(
                f"the model's {field} is {found!r}; the converter knows {value!r} alone",
                where=str(source / "config.json"),
                remedy="take a BERT model, or one that is a SavedModel already",
            )


if __name__ == "__main__":
    serve(convert)
