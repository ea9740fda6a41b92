"""Whether a probability of 0.8 is right eight times in ten, and the temperature that brings it there.

Guo et al. 2017, On Calibration of Modern Neural Networks: expected calibration error over 15 bins of equal width
(section 3, equation 3), and temperature scaling (section 4.2): logits are divided by one number that minimises the log
loss on the validation rows. It changes no prediction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.handoff import Split
from tasks.evaluate.answers import Answers
from tasks.evaluate.reading import Reading

BINS = 15
# Where the validation rows are answered without a mistake, the best temperature is 0, and no better than a small one;
# where the answers are worth nothing it is infinite.
LOWEST, HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Bin:
    """The rows whose highest probability lies in (`low`, `high`]: their mean of it, and the share that was right.

    Where each class has a probability of its own, a row counts once for each class, whose probability is compared with
    the share of rows that belong to it.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """How far probabilities are from frequencies."""

    loss: float
    expected_calibration_error: float
    bins: list[Bin]


@dataclass(frozen=True)
class Calibration:
    """The temperature, and what it does on each split."""

    temperature: float
    at_limit: bool
    before: dict[Split, Reliability]
    after: dict[Split, Reliability]


def calibrate(answers: Mapping[Split, Answers], reading: Reading) -> Calibration:
    """Fit the temperature on the validation rows, and measure each split before and after.

    Args:
        answers: the splits; `validation` is one of them.
        reading: what logits mean.

    Returns:
        Temperature and measurements.
    """
    temperature = fit_temperature(answers["validation"].logits, answers["validation"].truth, reading)
    return Calibration(
        temperature=temperature,
        at_limit=not 1.001 * LOWEST < temperature < 0.999 * HIGHEST,
        before={split: reliability(part.logits, part.truth, reading) for split, part in answers.items()},
        after={split: reliability(part.logits / temperature, part.truth, reading) for split, part in answers.items()},
    )


def fit_temperature(logits: NDArray[np.float64], truth: NDArray[Any], reading: Reading) -> float:
    """The temperature with the lowest log loss.

    The loss is convex in 1/T, so it has one minimum in log T as well, and Brent's method finds it.

    Args:
        logits: float64[n, classes].
        truth: int32[n], class indices; or bool[n, classes], the classes that each row belongs to.
        reading: what both mean.

    Returns:
        A temperature between `LOWEST` and `HIGHEST`; 1 where no other is better.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return -float(reading.log_likelihoods(logits / np.exp(log_temperature), truth).mean())

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def reliability(logits: NDArray[np.float64], truth: NDArray[Any], reading: Reading) -> Reliability:
    """Compare probabilities with how often what they are about is so.

    Args:
        logits: float64[n, classes].
        truth: int32[n], class indices; or bool[n, classes], the classes that each row belongs to.
        reading: what both mean.

    Returns:
        Log loss, expected calibration error, and the bins that hold rows, for the reliability diagram.
    """
    confidence, right = reading.confidence(logits, truth)
    edges = np.linspace(0, 1, BINS + 1)
    number = np.digitize(confidence, edges[1:-1], right=True)
    bins = []
    error = 0.0
    for index in range(BINS):
        inside = number == index
        if not inside.any():
            continue
        mean, accuracy = float(confidence[inside].mean()), float(right[inside].mean())
        bins.append(Bin(float(edges[index]), float(edges[index + 1]), int(inside.sum()), mean, accuracy))
        error += float(inside.mean()) * abs(accuracy - mean)
    return Reliability(-float(reading.log_likelihoods(logits, truth).mean()), error, bins)
