"""What the same rows give without a pretrained model, so that a good figure on an unbalanced set fools nobody.

Both are fitted on the training rows of the same artifact and answer the same validation and test rows.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubtune.inference.pairs import split_pair
from schemas.handoff import Split
from tasks.evaluate.reading import Reading, Sigmoid, Softmax

MAJORITY = "the majority class"
MAJORITY_ANSWER = "the majority answer"
BAG_OF_WORDS = "TF-IDF + logistic regression"
BAG_OF_WORDS_EACH = "TF-IDF + one logistic regression per class"

# Limits that keep the fit within seconds: 100,000 short texts take some 10 s on a busy core, of 2 classes or of 6; with
# more classes the fit takes proportionally longer, so it gets fewer rows. (So does one regression per class: 0.25 s for
# each class and strength with 34,000 rows.) They are taken in the order of their keys, which are hashes: the first ones
# are a random sample.
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
    """Texts of one split and their classes: int32[n], or bool[n, classes] where a text may belong to several."""

    texts: Sequence[str]
    labels: NDArray[Any]


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: what it is, in words, and its logits, float64[n, classes], by split.

    Where each text belongs to one class, the logits are logarithms of probabilities.
    """

    name: str
    description: str
    logits: dict[Split, NDArray[np.float64]]


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


def majority_answer(train: Texts, held_out: Mapping[Split, Texts]) -> Baseline:
    """Always name the classes that at least half of the training rows belong to, with the shares as probabilities.

    Args:
        train: training rows, which may belong to several classes.
        held_out: the other splits.

    Returns:
        The baseline.
    """
    # One row more on both sides than there is: no probability is 0 or 1, so the log loss is finite.
    belong = train.labels.sum(axis=0)
    odds = np.log((belong + 1) / (len(train.labels) - belong + 1))
    return Baseline(
        MAJORITY_ANSWER,
        "Names the classes that at least half of the training rows belong to, of every text the same.",
        {split: np.tile(odds, (len(part.labels), 1)) for split, part in held_out.items()},
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
    majority = majority_class(train, held_out, classes)
    return _bag_of_words(BAG_OF_WORDS, train, held_out, majority, Softmax(), _all_classes)


def bag_of_words_each(train: Texts, held_out: Mapping[Split, Texts]) -> Baseline:
    """Count words and pairs of words, and weigh them linearly, for each class by itself.

    Args:
        train: training rows, which may belong to several classes, in the order of their keys.
        held_out: the other splits; `validation` is one of them.

    Returns:
        The baseline; that of the class shares where no text holds a word.
    """
    majority = majority_answer(train, held_out)
    return _bag_of_words(BAG_OF_WORDS_EACH, train, held_out, majority, Sigmoid(), _each_class)


_Features = Any  # a sparse matrix of SciPy's, float64[n, words]
_Logits = dict[Split, NDArray[np.float64]]
# From training rows, their labels, other rows and an inverse strength of the penalty: logits of the other rows.
_Fit = Callable[[_Features, NDArray[Any], Mapping[Split, _Features], float, int], _Logits]


def _bag_of_words(
    name: str, train: Texts, held_out: Mapping[Split, Texts], majority: Baseline, reading: Reading, fit: _Fit
) -> Baseline:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from threadpoolctl import threadpool_limits

    classes = majority.logits["validation"].shape[1]
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
        return Baseline(name, "The training texts hold no words: the shares of the classes.", majority.logits)
    features = {split: vectorizer.transform(_cut(part.texts)) for split, part in held_out.items()}
    fitted: list[tuple[float, float, _Logits]] = []
    # The solver's products are too small for threads: on two busy cores they made it fifty times slower.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a solver that stopped early: it is a baseline all the same
        for strength in _STRENGTHS:
            answered = fit(counted, labels, features, strength, classes)
            loss = -float(reading.log_likelihoods(answered["validation"], held_out["validation"].labels).mean())
            fitted.append((loss, strength, answered))
    _, strength, answered = min(fitted, key=lambda each: each[0])
    description = (
        f"Fitted on {len(labels):,} of {len(train.labels):,} training rows, the first {CHARACTERS:,} characters of "
        f"each text; {counted.shape[1]:,} words and pairs of words{'' if rare else ' that occur in two texts or more'} "
        f"(at most {FEATURES:,}); C = {strength:g}, the better of {' and '.join(f'{each:g}' for each in _STRENGTHS)} "
        "on the validation rows."
    )
    return Baseline(name, description, answered)


def _cut(texts: Sequence[str]) -> list[str]:
    # Of a pair, half of each text. (Words of both are one bag.)
    pairs = [split_pair(text) or (text,) for text in texts]
    return [" ".join(part[: CHARACTERS // len(pair)] for part in pair) for pair in pairs]


def _all_classes(
    counted: _Features, labels: NDArray[Any], features: Mapping[Split, _Features], strength: float, classes: int
) -> _Logits:
    model = _regression(strength).fit(counted, labels)
    logits = {}
    for split, part in features.items():
        # A class without training rows gets the probability that rounding leaves.
        probabilities = np.full((part.shape[0], classes), np.finfo(np.float64).eps)
        probabilities[:, model.classes_] = np.maximum(model.predict_proba(part), np.finfo(np.float64).eps)
        logits[split] = np.log(probabilities)
    return logits


def _each_class(
    counted: _Features, labels: NDArray[Any], features: Mapping[Split, _Features], strength: float, classes: int
) -> _Logits:
    # A class whose training rows are all on one side has nothing to fit, and gets the probability that rounding leaves.
    sure = np.log(np.finfo(np.float64).eps) * np.where(labels.all(axis=0), -1, 1)
    logits = {split: np.tile(sure, (part.shape[0], 1)) for split, part in features.items()}
    for index in range(classes):
        belongs = labels[:, index]
        if belongs.all() or not belongs.any():
            continue
        model = _regression(strength).fit(counted, belongs)
        for split, part in features.items():
            logits[split][:, index] = model.decision_function(part)
    return logits


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, solver="newton-cg", max_iter=ITERATIONS)
