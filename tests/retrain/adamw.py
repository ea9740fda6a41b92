"""AdamW as the paper writes it, to compare with."""

import numpy as np
from numpy.typing import NDArray

from tasks.retrain.optimizer import BETA_1, BETA_2, EPSILON

Array = NDArray[np.float64]


class Reference:
    """Loshchilov & Hutter 2019, algorithm 2, with the decay scaled by the learning rate; in float64."""

    def __init__(self, weights: list[Array], decays: list[float], shares: list[float], clip_norm: float) -> None:
        self.weights, self.decays, self.shares, self.clip_norm, self.step = weights, decays, shares, clip_norm, 0
        self.m = [np.zeros_like(weight) for weight in weights]
        self.v = [np.zeros_like(weight) for weight in weights]

    def apply(self, gradients: list[Array], rate: float) -> None:
        self.step += 1
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        for i, gradient in enumerate(gradients):
            g = gradient * min(1.0, self.clip_norm / norm)
            self.m[i] = BETA_1 * self.m[i] + (1 - BETA_1) * g
            self.v[i] = BETA_2 * self.v[i] + (1 - BETA_2) * g**2
            m_hat, v_hat = self.m[i] / (1 - BETA_1**self.step), self.v[i] / (1 - BETA_2**self.step)
            self.weights[i] = self.weights[i] - rate * self.shares[i] * (
                m_hat / (np.sqrt(v_hat) + EPSILON) + self.decays[i] * self.weights[i]
            )
