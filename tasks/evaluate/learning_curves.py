"""How training went: the curves of train and validation, and a sentence that says what they mean."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Shares by which a loss must differ to mean something: Prechelt's GL_5, and a fifth of it for a single epoch.
_RISE = 0.05
_STEP = 0.01
# How far above chance macro-F1 must be, as a factor: on a few hundred rows, chance itself varies by that much.
_CHANCE = 1.1

_TRAIN, _VALIDATION, _KEPT = "#4477aa", "#ee6677", "#777777"
_NAMES = {"macro_f1": "macro-F1", "weighted_f1": "weighted F1"}


def diagnose(history: list[dict[str, Any]], chance: float | None = None) -> str:
    """Say in one sentence what the curves mean. The first rule that holds decides.

    Each curve is compared with itself alone: train loss may be smoothed, weighted and taken under dropout, so that its
    level says nothing beside that of validation loss.

    1. Under-fitting: the kept epoch's macro-F1 is at most 1.1 times what answers that ignore the text can be expected
       to have (`chance_of_one`, `chance_of_each`).
    2. One epoch is a point and no curve.
    3. Under-fitting: in three epochs or more, train loss never fell by 5 % below that of the first. (What a model
       cannot fit on its training rows: Goodfellow, Bengio and Courville 2016, Deep Learning, section 5.2.)
    4. Over-fitting: the last validation loss lies more than 5 % above the lowest, and train loss has fallen since.
       This is the generalisation loss GL > 5 of Prechelt 1998, Early Stopping - But When?, section 2.1. It began with
       the epoch after the lowest. Where train loss has not fallen, training has become unstable.
    5. Still improving: the last validation loss is the lowest, by 1 % or more.
    6. Settled: none of these.

    Args:
        history: the entries of `history.json`, one for each epoch.
        chance: the macro-F1 of answers that ignore the text; without it, rule 1 is passed over.

    Returns:
        The sentence.
    """
    if not history:
        return "No epoch was run."
    kept = next((entry for entry in history if entry["best"]), history[-1])
    macro_f1 = kept["validation"]["macro_f1"]
    if chance is not None and macro_f1 <= _CHANCE * chance:
        return (
            f"Under-fitting: macro-F1 on validation is {macro_f1:.3f}, and answers that ignore the text could have "
            f"{chance:.3f}; train longer, at another learning rate, or train more of the model."
        )
    if len(history) == 1:
        return "One epoch only: whether more would help cannot be told from a single point."
    train = [entry["train_loss"] for entry in history]
    validation = [entry["validation"]["loss"] for entry in history]
    if len(history) >= 3 and min(train) > (1 - _RISE) * train[0]:
        return (
            f"Under-fitting: train loss hardly fell, from {_figure(train[0])} in epoch 1 to {_figure(min(train))} at "
            "its lowest; a higher learning rate, a larger head or more trained layers would let the model fit better."
        )
    lowest = validation.index(min(validation))
    if validation[-1] > (1 + _RISE) * validation[lowest]:
        rise = f"from {_figure(validation[lowest])} in epoch {lowest + 1} to {_figure(validation[-1])}"
        if train[-1] < train[lowest]:
            return (
                f"Over-fitting since epoch {lowest + 2}: validation loss rose {rise} while train loss went on falling; "
                f"the weights of epoch {kept['epoch']} were kept."
            )
        return f"Unstable: validation loss rose {rise}, and train loss did not fall; a lower learning rate would help."
    if lowest == len(history) - 1 and validation[-1] <= (1 - _STEP) * min(validation[:-1]):
        return (
            f"Still improving when it stopped: the last epoch brought validation loss to {_figure(validation[-1])}, "
            f"from {_figure(min(validation[:-1]))} at best before, so more epochs would help."
        )
    return (
        f"Settled: validation loss ended within {100 * _RISE:.0f} % of its lowest, {_figure(validation[lowest])} in "
        f"epoch {lowest + 1}; more epochs would change little."
    )


def chance_of_one(classes: int) -> float:
    """The highest macro-F1 that answers which ignore the text can be expected to have, one class for each text.

    Naming class k with frequency q_k, where its share is p_k, gives it an F1 of 2 p_k q_k / (p_k + q_k), which is at
    most (p_k + q_k) / 2; over all classes these add up to 1.

    Args:
        classes: how many classes there are.

    Returns:
        1 / classes.
    """
    return 1 / classes


def chance_of_each(belongs: NDArray[np.bool_]) -> float:
    """The same where a text may belong to several classes.

    The frequencies with which classes are named are then independent, and 2 p_k q_k / (p_k + q_k) is highest where
    class k is named of every text.

    Args:
        belongs: bool[n, classes], the classes that each row belongs to.

    Returns:
        Mean of 2 p_k / (1 + p_k) over the classes, where p_k is the share of the rows that belong to class k.
    """
    shares = belongs.mean(axis=0)
    return float((2 * shares / (1 + shares)).mean())


def learning_curves(history: list[dict[str, Any]], monitor: str = "macro_f1") -> bytes:
    """Draw train and validation loss, and the watched metric, over the epochs; the kept epoch is marked.

    Args:
        history: the entries of `history.json`, one for each epoch; at least one.
        monitor: the validation metric that chose the kept epoch. Where that is the loss, macro-F1 is drawn beside it.

    Returns:
        An SVG picture; the same history gives the same bytes.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    metric = "macro_f1" if monitor == "loss" else monitor
    name = _NAMES.get(metric, metric)
    epochs = [entry["epoch"] for entry in history]
    curves = {
        "loss": [
            ("train", _TRAIN, [entry["train_loss"] for entry in history]),
            ("validation", _VALIDATION, [entry["validation"]["loss"] for entry in history]),
        ],
        name: [("validation", _VALIDATION, [entry["validation"][metric] for entry in history])],
    }
    # Nobody's own settings for plots, no date, and names within the file that do not change.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"svg.hashsalt": "hubtune", "svg.fonttype": "none"})
        figure = Figure(figsize=(9, 3.4))
        # To measure the labels first would double the time of the drawing.
        figure.subplots_adjust(left=0.08, right=0.98, bottom=0.15, top=0.9, wspace=0.22)
        for axes, (title, lines) in zip(figure.subplots(1, 2), curves.items(), strict=True):
            for label, colour, values in lines:
                axes.plot(epochs, values, color=colour, marker="o", markersize=4, label=label)
            for entry in history:
                if entry["best"]:
                    label = f"kept: epoch {entry['epoch']}"
                    axes.axvline(entry["epoch"], color=_KEPT, linestyle="--", linewidth=1, label=label)
            axes.set(title=title, xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False)
        picture = io.BytesIO()
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _figure(loss: float) -> str:
    return f"{loss:.3g}"
