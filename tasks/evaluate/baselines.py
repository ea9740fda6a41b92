"""What the same rows give without a pretrained model, so that a good figure on an unbalanced set fools nobody.

Both are fitted on the training rows of the same artifact and answer the same validation and test rows.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.handoff import Split

MAJORITY = "the majority class"
BAG_OF_WORDS = "TF-IDF + logistic regression"

# Limits that keep the fit within seconds: 100,000 short texts take some 10 s on a busy core, of 2 classes or of 6; with
# more classes the fit takes proportionally longer, so it gets fewer rows. They are taken in the order of their keys,
# which are hashes: the first ones are a random sample.
ROWS = 100_000
ROWS_TIMES_CLASSES = 1_500_000
CHARACTERS = 2_000
FEATURES = 50_000
ITERATIONS = 100
# From this many training rows on, what occurs in a single text is left out.
_ROWS_WITH_RARE_WORDS = 1_000
# Inverse strengths of the L2 penalty; the one with the lower validation log loss is taken. 10 is better on questions
# and reviews, 1 on tweets.
_STRENGTHS = (1.0, 10.0)


@dataclass(frozen=True)
class Texts:
    """Texts of one split and their classes: int32[n]."""

    texts: Sequence[str]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: what it is, in words, and its log probabilities, float64[n, classes], by split."""

    name: str
    description: str
    log_probabilities: dict[Split, NDArray[np.float64]]


def majority_class(train: Texts, held_out: Mapping[Split, Texts], classes: int) -> Baseline:
    """Always say the most frequent class, with the classes' shares of the training rows as probabilities.

    Args:
        train: training rows.
        held_out: the other splits.
        classes: how many classes there are.

    Returns:
        The baseline.
    """
    # One row more of each class than there is: no probability is 0, so the log loss is finite.
    shares = np.log((np.bincount(train.labels, minlength=classes) + 1) / (len(train.labels) + classes))
    return Baseline(
        MAJORITY,
        "Says the most frequent class of the training rows of every text.",
        {split: np.tile(shares, (len(part.labels), 1)) for split, part in held_out.items()},
    )


def bag_of_words(train: Texts, held_out: Mapping[Split, Texts], classes: int) -> Baseline:
    """Count words and pairs of words, and weigh them linearly.

    Args:
        train: training rows, in the order of their keys.
        held_out: the other splits; `validation` is one of them.
        classes: how many classes there are.

    Returns:
        The baseline; that of the class shares where no text holds a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    rows = min(ROWS, ROWS_TIMES_CLASSES // classes)
    labels = train.labels[:rows]
    rare = len(labels) < _ROWS_WITH_RARE_WORDS
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106 - no password
        sublinear_tf=True,
        min_df=1 if rare else 2,
        max_features=FEATURES,
    )
    try:
        counted = vectorizer.fit_transform(_cut(train.texts[:rows]))
    except ValueError:  # scikit-learn's way to say that there is no word
        shares = majority_class(train, held_out, classes).log_probabilities
        return Baseline(BAG_OF_WORDS, "The training texts hold no words: the shares of the classes.", shares)
    features = {split: vectorizer.transform(_cut(part.texts)) for split, part in held_out.items()}
    fitted: list[tuple[float, float, dict[Split, NDArray[np.float64]]]] = []
    # The solver's products are too small for threads: on two busy cores they made it fifty times slower.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a solver that stopped early: it is a baseline all the same
        for strength in _STRENGTHS:
            model = LogisticRegression(C=strength, solver="newton-cg", max_iter=ITERATIONS).fit(counted, labels)
            answered = {split: _all_classes(model, part, classes) for split, part in features.items()}
            truth = held_out["validation"].labels
            loss = -float(answered["validation"][np.arange(len(truth)), truth].mean())
            fitted.append((loss, strength, answered))
    _, strength, answered = min(fitted, key=lambda fit: fit[0])
    description = (
        f"Fitted on {len(labels):,} of {len(train.labels):,} training rows, the first {CHARACTERS:,} characters of "
        f"each text; {counted.shape[1]:,} words and pairs of words{'' if rare else ' that occur in two texts or more'} "
        f"(at most {FEATURES:,}); C = {strength:g}, the better of {' and '.join(f'{each:g}' for each in _STRENGTHS)} "
        "on the validation rows."
    )
    return Baseline(BAG_OF_WORDS, description, answered)


def _cut(texts: Sequence[str]) -> list[str]:
    return [text[:CHARACTERS] for text in texts]


def _all_classes(model: object, features: object, classes: int) -> NDArray[np.float64]:
    # A class without training rows gets the probability that rounding leaves.
    answered = model.predict_proba(features)  # type: ignore[attr-defined]  # scikit-learn has no types
    probabilities = np.full((answered.shape[0], classes), np.finfo(np.float64).eps)
    probabilities[:, model.classes_] = np.maximum(answered, np.finfo(np.float64).eps)  # type: ignore[attr-defined]
    return np.log(probabilities)
