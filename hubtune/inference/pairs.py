"""Pairs of texts, such as a premise and a hypothesis, as one text each.

Between the two stands a character that normalisation makes another one of (Unicode's NFKC gives a plain "|" for it). So
it cannot occur in a normalised text, and rows of pairs pass through everything that handles rows of texts.
"""

BETWEEN = " ｜ "
"""What stands between two normalised texts."""


def join_pair(first: str, second: str) -> str:
    """Two normalised texts as one."""
    return f"{first}{BETWEEN}{second}"


def split_pair(text: str) -> tuple[str, str] | None:
    """The two texts that `join_pair` made one; None for a text that is none of two."""
    first, found, second = text.partition(BETWEEN)
    return (first, second) if found else None
