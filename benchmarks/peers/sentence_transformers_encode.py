"""sentence-transformers' encode: texts -> vectors, sorted by length and padded as it does by itself.

    python -m benchmarks.peers.sentence_transformers_encode WEIGHTS TEXTS

WEIGHTS is the folder with the model's original files, TEXTS one with train.csv, validation.csv and test.csv. The batch
size is the fastest of a few on a sample. Prints one JSON line.
"""

import argparse
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.peers.report import SPLITS, peak_mb, read_texts, versions

BATCH_SIZES = (8, 16, 32, 64, 128)
# Texts on which the batch size is chosen.
SAMPLE = 1024


def main() -> None:
    """Encode every distinct text and print how long it took."""
    parser = argparse.ArgumentParser(description="sentence-transformers' encode.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--vectors", type=Path, help="where the vectors are kept, as a .npy file")
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        report = encode(arguments.weights, arguments.texts, arguments.max_length, arguments.vectors)
    print(json.dumps(report))


def encode(weights: Path, folder: Path, max_length: int, keep: Path | None) -> dict[str, Any]:
    """Choose a batch size, then encode.

    Args:
        weights: the model's folder.
        folder: the texts.
        max_length: tokens per text; the rest is cut.
        keep: where the vectors are kept.

    Returns:
        The figures.
    """
    asked = time.perf_counter()
    import numpy as np
    import torch  # type: ignore[import-not-found, unused-ignore]
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found, unused-ignore]

    imported = time.perf_counter()
    model = SentenceTransformer(str(weights), device="cpu")
    model.max_seq_length = max_length
    loaded = time.perf_counter()
    texts = list(dict.fromkeys(text for split in SPLITS for text in read_texts(folder, split)[0]))
    picked = np.random.default_rng(0).permutation(len(texts))[:SAMPLE]
    sample = [texts[position] for position in picked]

    def seconds(some: list[str], batch_size: int) -> tuple[float, Any]:
        started = time.perf_counter()
        vectors = model.encode(some, batch_size=batch_size, show_progress_bar=False)
        return time.perf_counter() - started, vectors

    seconds(sample[:64], 32)  # the first call allocates
    tried = {batch_size: seconds(sample, batch_size)[0] for batch_size in BATCH_SIZES}
    best = min(tried, key=lambda batch_size: tried[batch_size])
    total, vectors = seconds(texts, best)
    if keep is not None:
        np.save(keep, vectors)
    return {
        "program": "sentence-transformers encode",
        "texts": len(texts),
        "seconds": total,
        "examples_per_second": len(texts) / total,
        "batch_size": best,
        "batch_sizes_tried": {str(batch_size): round(len(sample) / spent, 1) for batch_size, spent in tried.items()},
        "import_seconds": imported - asked,
        "load_seconds": loaded - imported,
        "start_up_seconds": loaded - asked,
        "peak_mb": peak_mb(),
        "threads": torch.get_num_threads(),
        "versions": versions("torch", "transformers", "sentence-transformers"),
    }


if __name__ == "__main__":
    main()
