"""Training an encoder, or its upper layers, together with a head."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hubtune.errors import TrainingFailed, WorkerDied
from hubtune.progress import Progress, Say
from schemas.train_recipe import MEANT_FOR, TrainRecipe
from tasks.retrain.batches import training_batches
from tasks.retrain.encoder import Encoder
from tasks.retrain.examples import Features, Inputs, Rows
from tasks.retrain.feature_extraction import Embedded, new_head, train_head
from tasks.retrain.fit import Keeper, TrainingState, fit, require_finite
from tasks.retrain.forward import forward
from tasks.retrain.head import Head
from tasks.retrain.loss import Loss
from tasks.retrain.optimizer import AdamW
from tasks.retrain.precision import LossScale, Precision, padded_length
from tasks.retrain.schedule import learning_rates
from tasks.retrain.strategy import needs_static_shapes, on_processors
from tasks.retrain.tensorflow_setup import Tensor
from tasks.retrain.training_step import Part, TrainingStep, lanes
from tasks.retrain.truth import RowWeights, Truth
from tasks.retrain.validation import ValidationMetrics
from tasks.retrain.validation import validate as compare

# For a head without hidden layers on the frozen encoder. Among 5e-4 to 5e-2, validation loss is lowest between 2e-3 and
# 1e-2 on trec6 and sst2, at 1e-2 on quora_insincere.
_LINEAR_LEARNING_RATE = 5e-3


def fine_tune(
    encoder: Encoder,
    groups: Sequence[Sequence[Any]],
    train: tuple[Inputs, Truth, RowWeights | None],
    validation: tuple[Inputs, Truth],
    classes: int,
    loss: Loss,
    recipe: TrainRecipe,
    keeper: Keeper | None,
    say: Say,
    strategy: Any = None,
    precision: Precision = "float32",
    *,
    products_only: bool = False,
) -> tuple[Head, TrainingState, Callable[[Features], Tensor]]:
    """Train groups of an encoder's variables, and a head, on labelled texts.

    Args:
        encoder: the pretrained encoder; its variables hold the best weights when this returns.
        groups: the variables that are trained, from the lowest layer to the highest.
        train: the training split: inputs, their truth, and how much each row counts (None: all the same).
        validation: the split that early stopping watches.
        classes: how many there are.
        loss: what is minimised.
        recipe: a complete train section.
        keeper: keeps the state now and then; None: it is not kept.
        say: takes progress lines.
        strategy: the devices, in whose scope the encoder was loaded; None: one.
        precision: what the encoder's layers are computed in.
        products_only: whether it is their products alone that are computed in it.

    Returns:
        The head with its best weights, the state at the end, and the forward pass of encoder and head.

    Raises:
        TrainingFailed: the loss is not a number, or memory does not suffice for a batch of one row.
        WorkerDied: another worker of the cluster is gone.
    """
    assert recipe.epochs is not None
    assert recipe.learning_rate is not None
    assert recipe.warmup_fraction is not None
    (inputs, truth, given), epochs = train, recipe.epochs
    weights = np.ones(len(truth), np.float32) if given is None else given
    head = new_head(encoder.width, classes, recipe, drop_input=True)
    if recipe.gradual_unfreezing:
        _train_head_first(head, encoder, train, validation, classes, loss, recipe, say)
    variables = [*(variable for group in groups for variable in group), *head.variables]
    scale = LossScale() if precision == "float16" else None
    shares = _rates(groups, head, recipe.layer_decay)
    # Elsewhere each step moves the whole table: on several devices the copies of its rows would have to lag alike, and
    # on an accelerator nothing was tried.
    lags = strategy is None and on_processors(strategy) and scale is None
    words = encoder.words if lags else None
    optimizer = AdamW(variables, recipe.weight_decay, recipe.clip_norm, shares, scale, words)
    step_taker = TrainingStep(encoder, head, variables, optimizer, loss, strategy, lanes(strategy, encoder))
    pad = _fixed_size(recipe, step_taker.at_once) if needs_static_shapes(strategy) else None
    compute_logits = compile_logits(encoder, head)
    lengths = inputs.lengths
    steps = -(-len(truth) // recipe.batch_size)
    rates = learning_rates(recipe.epochs * steps, recipe.learning_rate, recipe.warmup_fraction, recipe.schedule)
    parts = min(recipe.accumulation_steps, recipe.batch_size)
    state = TrainingState(variables, optimizer, rates, parts, precision=precision, products_only=products_only)
    shortest, most = int(lengths.min()), int(lengths.max())
    least, greatest = (step_taker.parts_of(min(recipe.batch_size, len(truth)), each) for each in (shortest, most))
    step_taker.build(max(parts, least), max(parts, greatest))

    def padded(rows: Rows) -> int:
        length = padded_length(int(lengths[rows].max(initial=1)), precision, products_only=products_only)
        # Not beyond the longest text of all: the encoder may know no more positions.
        return min(length, most)

    def run_epoch() -> tuple[float, float]:
        batches = training_batches(lengths, recipe.batch_size, np.random.default_rng([recipe.seed, state.epoch]))
        part = (state.epoch / epochs, (state.epoch + 1) / epochs)
        progress = Progress(say, f"Epoch {state.epoch + 1}/{epochs}", len(truth), "rows", part=part)
        done = len(state.losses) - state.epoch * steps
        progress.advance(sum(map(len, batches[:done])))
        for rows in batches[done:]:
            value = _take_step(step_taker, inputs, truth, weights, rows, padded, state, pad, say)
            require_finite(np.array([value]), [rows], state, keeper)
            state.losses.append(value)
            state.rows += len(rows)
            progress.advance(len(rows))
            if keeper is not None:
                keeper.offer(state, epoch_ended=False)
        optimizer.settle()
        losses = np.array(state.losses[state.epoch * steps :], np.float64)
        return float(losses @ [len(rows) for rows in batches]) / len(truth), float(rates[len(state.losses) - 1])

    def validate() -> ValidationMetrics:
        return compare(
            forward(compute_logits, validation[0], classes, say, "Validation", (state.epoch + 1) / epochs),
            validation[1],
        )

    fit(state, run_epoch, validate, recipe, keeper, say)
    return head, state, compute_logits


def compile_logits(encoder: Encoder, head: Head) -> Callable[[Features], Tensor]:
    """The forward pass as it is deployed, without any dropout: features -> float32[n, classes]."""
    import tensorflow as tf

    @tf.function(input_signature=[encoder.signature], autograph=False)
    def compute_logits(features: Tensor) -> Tensor:
        return head.logits(encoder.text_vectors(features, None))

    compute_logits.get_concrete_function()  # built here, and not within the first validation
    compiled: Callable[[Features], Tensor] = compute_logits
    return compiled


def _take_step(
    step_taker: TrainingStep,
    inputs: Inputs,
    truth: Truth,
    weights: RowWeights,
    rows: Rows,
    padded: Callable[[Rows], int],
    state: TrainingState,
    pad: tuple[int, int] | None,
    say: Say,
) -> np.float32:
    import tensorflow as tf

    before, step = state.optimizer.steps, len(state.losses)
    fitting = step_taker.parts_of(len(rows), padded(rows))
    while True:
        # Divided twice, so that each part is as small as it was asked to be, whatever is computed at once.
        wholes = np.array_split(rows, min(max(state.parts, fitting), len(rows)))
        pieces = [piece for whole in wholes for piece in np.array_split(whole, step_taker.at_once)]
        parts = [(inputs.batch(piece, padded(piece)), truth[piece], weights[piece]) for piece in pieces]
        if pad is not None:
            parts = [_padded(*part, *pad) for part in parts]
        try:
            return step_taker.take(parts, state.rates[step], step)
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
            # A collective operation whose peer is gone. Killing either of two workers gave the first; the others stand
            # for a peer that comes back too soon or does not answer, and were not seen.
            told = [line for line in str(error).splitlines() if "Collective ops" in line] or [str(error)]
            raise WorkerDied(
                f"another worker was lost in step {before + 1}: {told[0]}",
                where="the workers in TF_CONFIG",
                remedy="run again on all workers; training goes on from the last checkpoint",
            ) from error
        except tf.errors.ResourceExhaustedError as error:
            if state.optimizer.steps != before or pad is not None or len(wholes) == len(rows):
                told = [line.strip() for line in str(error).splitlines() if "OOM" in line or "memory" in line]
                raise TrainingFailed(
                    f"memory ran out in step {before + 1}, with a batch of {len(rows)} rows in {len(wholes)} parts"
                    + (f": {told[0]}" if told else ""),
                    where="train.batch_size",
                    remedy="give the worker more memory, or lower train.max_length or train.batch_size",
                ) from error
            while state.parts <= len(wholes):
                state.parts *= 2
            say(
                f"memory ran out: batches are computed in {state.parts} parts or more from here on; "
                "their size stays the same"
            )


def _fixed_size(recipe: TrainRecipe, at_once: int) -> tuple[int, int]:
    """Rows and tokens of what one device computes at a time, where shapes must not change."""
    assert recipe.max_length != "auto"
    return -(-recipe.batch_size // (min(recipe.accumulation_steps, recipe.batch_size) * at_once)), recipe.max_length


def _padded(features: dict[str, npt.NDArray[Any]], truth: Truth, weights: RowWeights, rows: int, length: int) -> Part:
    """Features with rows and columns of padding; a weight of 0 tells that a row is none."""
    missing = rows - len(truth)
    given, longest = features["input_mask"].shape
    wider = {}
    for name, value in features.items():
        around = [(0, missing), (0, length - longest)]
        if name == "hidden":  # the vectors of all tokens, one below the other
            width = value.shape[1]
            each = np.pad(value.reshape(given, longest, width), [*around, (0, 0)])
            wider[name] = each.reshape(rows * length, width)
        else:
            wider[name] = np.pad(value, around)
    filled = np.concatenate([truth, np.zeros((missing, *truth.shape[1:]), truth.dtype)])
    return wider, filled, np.pad(weights, (0, missing))


def _train_head_first(
    head: Head,
    encoder: Encoder,
    train: tuple[Inputs, Truth, RowWeights | None],
    validation: tuple[Inputs, Truth],
    classes: int,
    loss: Loss,
    recipe: TrainRecipe,
    say: Say,
) -> None:
    """Train the head alone, on vectors of the encoder as it came.

    Kumar et al. 2022 (linear probing, then fine-tuning): a head that starts at random sends gradients into the encoder
    that distort what it knows; Howard & Ruder 2018, section 3.3, unfreeze from the head downwards for the same reason.
    """
    import tensorflow as tf

    compute = tf.function(
        lambda features: encoder.text_vectors(features, None), input_signature=[encoder.signature], autograph=False
    )
    seen, held_out = (
        Embedded(forward(compute, inputs, encoder.width, say, "Embedding for the head", 0.0), truth, weights)
        for inputs, truth, weights in (train, (*validation, None))
    )
    probing = {
        **recipe.model_dump(exclude={"epochs", "warmup_fraction", "dropout", *MEANT_FOR}),
        "mode": "feature_extraction",
        "learning_rate": None if recipe.hidden else _LINEAR_LEARNING_RATE,
        # The head that tuning starts from should be calibrated; which classes it favours is decided later.
        "monitor": "loss",
    }
    trained, _ = train_head(seen, held_out, classes, loss, TrainRecipe.model_validate(probing), None, say)
    head.assign(trained.weights())


def _rates(groups: Sequence[Sequence[Any]], head: Head, decay: float) -> list[float]:
    """What each variable's learning rate is multiplied by: less from layer to layer down (Howard & Ruder 2018, 3.2)."""
    shares = [decay ** (len(groups) - number) for number, group in enumerate(groups) for _ in group]
    return [*shares, *(1.0 for _ in head.variables)]
