"""The learning rate over a run."""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt


def learning_rates(
    steps: int, peak: float, warmup_fraction: float, schedule: Literal["linear", "cosine"] = "linear"
) -> npt.NDArray[np.float32]:
    """Linear warm-up to the peak, then decay to zero.

    The decay is linear (Devlin et al. 2019, appendix A.2), or along half a cosine (Loshchilov & Hutter 2017, equation
    5 without restarts). Zero itself is reached after the last step, and warm-up begins above it, so that no step is
    lost.

    Args:
        steps: steps of the whole run.
        peak: the highest learning rate.
        warmup_fraction: share of the steps over which the rate rises.
        schedule: how it falls.

    Returns:
        float32[steps], the rate of each step.
    """
    warmup = math.ceil(steps * warmup_fraction)
    step = np.arange(steps, dtype=np.float64)
    rising = (step + 1) / max(warmup, 1)
    left = (steps - step) / max(steps - warmup, 1)
    falling = left if schedule == "linear" else (1 - np.cos(np.pi * left)) / 2
    return (peak * np.where(step < warmup, rising, falling)).astype(np.float32)
