"""What of a classifier is trained, as a table of its parts."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def summarise(
    groups: Sequence[Sequence[Any]], frozen_groups: int, total: int, width: int, hidden: Sequence[int], classes: int
) -> str:
    """Count the parameters of each part.

    Args:
        groups: the encoder's variables, the embeddings' first, then each layer's; or all in one group. None at all for
            an encoder that is frozen as a whole.
        frozen_groups: how many groups, from the first on, are not trained.
        total: parameters of the pretrained model; those in no group (layers above, a pooler that is not used) are
            frozen too, or not even computed.
        width: of the text vectors.
        hidden: widths of the head's hidden layers.
        classes: how many there are.

    Returns:
        Lines: a row for each part, then the totals.
    """
    names = ["embeddings", *(f"layer {number}" for number in range(1, len(groups)))] if len(groups) > 1 else ["encoder"]
    rows = [
        (name, sum(int(variable.shape.num_elements()) for variable in group), index >= frozen_groups)
        for index, (name, group) in enumerate(zip(names, groups, strict=False))
    ]
    rest = total - sum(size for _, size, _ in rows)
    if rest:
        rows.append(("not used" if rows else "encoder", rest, False))
    rows.append(("head", sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise([width, *hidden, classes])), True))
    trained = sum(size for _, size, is_trained in rows if is_trained)
    everything = sum(size for _, size, _ in rows)
    lines = [f"{name:<12}{size:>14,}  {'trained' if is_trained else 'frozen'}" for name, size, is_trained in rows]
    return "\n".join(
        [
            "parameters:",
            *lines,
            f"{'total':<12}{everything:>14,}  {trained:,} trainable, {everything - trained:,} frozen",
        ]
    )
