"""The floating-point operations of a training step of a BERT-like encoder, counted analytically."""

LAYERS, WIDTH, INTERMEDIATE = 6, 384, 1536
"""Of all-MiniLM-L6-v2, the starter."""


def training_flops(tokens: float, pairs: float) -> float:
    """Operations of forward and backward passes: 6 N tokens + 12 L d pairs (Chowdhery et al. 2022, appendix B).

    N counts the weights of the matrix products of all layers, L (4 d^2 + 2 d f): query, key, value and output (d x d
    each), and the two of the feed-forward part (d x f). A product costs two operations per weight and token forwards,
    and twice that backwards. Attention adds, for each pair of a token and a token that it attends to, the scores and
    the weighted sum: 4 d operations per layer forwards, twice that backwards. Embeddings (looked up), normalisation,
    activations, dropout and the head are left out.

    Args:
        tokens: tokens of all batches; with padding: what was computed, without: what had to be.
        pairs: the sum over all texts of the squared length, with padding or without.

    Returns:
        Operations; a multiplication and an addition are two.
    """
    weights = LAYERS * (4 * WIDTH**2 + 2 * WIDTH * INTERMEDIATE)
    return 6.0 * weights * tokens + 12.0 * LAYERS * WIDTH * pairs
