"""The learning rate over a run."""

import math

import numpy as np
import numpy.typing as npt


def learning_rates(steps: int, peak: float, warmup_fraction: float) -> npt.NDArray[np.float32]:
    """Linear warm-up to the peak, then linear decay to zero (Devlin et al. 2019, appendix A.2).

    Zero itself is reached after the last step, and warm-up begins above it, so that no step is lost.

    Args:
        steps: steps of the whole run.
        peak: the highest learning rate.
        warmup_fraction: share of the steps over which the rate rises.

    Returns:
        float32[steps], the rate of each step.
    """
    warmup = math.ceil(steps * warmup_fraction)
    step = np.arange(steps, dtype=np.float64)
    rising = (step + 1) / max(warmup, 1)
    falling = (steps - step) / max(steps - warmup, 1)
    return (peak * np.where(step < warmup, rising, falling)).astype(np.float32)
