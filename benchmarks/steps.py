"""Steps of full fine-tuning alone: how fast they are with a batch in lanes, or in one piece.

    python -m benchmarks.steps PREPARED --lanes 2

PREPARED is a folder that benchmarks/prepare.py made. Prints one JSON line.
"""

import argparse
import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.peers.report import cores, versions
from benchmarks.prepare import MAX_LENGTH, Prepared
from schemas.handoff import SPLITS
from schemas.train_recipe import TrainRecipe

# The first ones trace the step and fill the allocator's pools.
_WARM_UP, _STEPS = 8, 40


def main() -> None:
    """Take some steps and print how long they took."""
    parser = argparse.ArgumentParser(description="Steps of full fine-tuning.")
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        report = take_steps(Prepared.read(arguments.prepared), arguments.lanes, arguments.seed)
    print(json.dumps(report))


def take_steps(prepared: Prepared, lanes: int, seed: int) -> dict[str, Any]:
    """Train as block 4 does, without validation and without dividing batches of long texts any further.

    Args:
        prepared: model and data.
        lanes: parts of a batch that are computed side by side.
        seed: of the batches and of dropout.

    Returns:
        The figures.
    """
    from tasks.retrain.tensorflow_setup import leave_graphs_as_they_are, start_tensorflow

    start_tensorflow(in_lanes=lanes > 1)
    leave_graphs_as_they_are()
    import numpy as np

    from tasks.retrain.batches import training_batches
    from tasks.retrain.encoder import load_encoder, trained_groups
    from tasks.retrain.examples import TokenIds, read_examples, restrict_vocabulary
    from tasks.retrain.feature_extraction import new_head
    from tasks.retrain.layered_encoder import LayeredEncoder
    from tasks.retrain.loss import make_loss
    from tasks.retrain.optimizer import AdamW
    from tasks.retrain.plan import make_plan
    from tasks.retrain.training_step import TrainingStep

    recipe = TrainRecipe.model_validate({"mode": "fine_tuning", "max_length": MAX_LENGTH, "seed": seed})
    train = read_examples(prepared.tokens, "train")
    labels = [str(label) for label in range(int(train.labels.max()) + 1)]
    encoder = load_encoder(prepared.model, prepared.facts, recipe, make_plan(prepared.facts, recipe))
    assert isinstance(encoder, LayeredEncoder)
    assert isinstance(train.inputs, TokenIds)
    held_out = [read_examples(prepared.tokens, split).inputs for split in SPLITS[1:]]
    known = [inputs for inputs in held_out if isinstance(inputs, TokenIds)]
    used, others, (inputs, *_) = restrict_vocabulary(train.inputs, known)
    encoder.bert.restrict_words(used, others)
    head = new_head(encoder.width, len(labels), recipe, drop_input=True)
    groups = trained_groups(encoder, 0, prepared.facts)
    variables = [*(variable for group in groups for variable in group), *head.variables]
    optimizer = AdamW(variables, recipe.weight_decay, recipe.clip_norm, lagging=encoder.words)
    step = TrainingStep(encoder, head, variables, optimizer, make_loss(recipe, labels, train.labels), lanes=lanes)
    batches = training_batches(inputs.lengths, recipe.batch_size, np.random.default_rng(seed))

    def take(number: int) -> None:
        rows = batches[number % len(batches)]
        pieces = np.array_split(rows, step.at_once)
        parts = [(inputs.batch(piece), train.labels[piece], np.ones(len(piece), np.float32)) for piece in pieces]
        step.take(parts, np.float32(1e-5), number)

    for number in range(_WARM_UP):
        take(number)
    started = time.perf_counter()
    for number in range(_WARM_UP, _WARM_UP + _STEPS):
        take(number)
    seconds = time.perf_counter() - started
    return {
        "program": f"hubtune steps, {lanes} lanes",
        "seconds": seconds,
        "examples_per_second": _STEPS * recipe.batch_size / seconds,
        "threads": cores(),
        "versions": versions("tensorflow", "numpy"),
    }


if __name__ == "__main__":
    main()
