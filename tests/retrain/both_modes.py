"""Embeds, trains a head and fine-tunes: `python -m tests.retrain.both_modes MODEL ROWS TOKENS FOLDER`."""

import sys
from pathlib import Path

from tasks.retrain.embed import embed
from tasks.retrain.train import train
from tests.retrain.small_inputs import FACTS, recipe


def main(model: Path, rows: Path, tokens: Path, folder: Path) -> None:
    embeddings, head, tuned = (folder / name for name in ("embeddings", "feature_extraction", "fine_tuning"))
    for each in (embeddings, head, tuned):
        each.mkdir(parents=True)
    settings = recipe(epochs=3, dropout=0.3, learning_rate=5e-3)
    embed(model, FACTS, tokens, settings, [], embeddings, print)
    train(model, FACTS, rows, tokens, [embeddings], settings, head, print)
    settings = recipe(mode="fine_tuning", epochs=2, learning_rate=1e-2, hidden=[8])
    train(model, FACTS, rows, tokens, [], settings, tuned, print)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
