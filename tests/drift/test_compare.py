"""The figures, against ones computed by hand and by scipy, and what must hold for all rows."""

import math
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from tasks.drift.compare import Drift, Share, compare
from tests.drift.conftest import Rows, Write, written


def psi(before: list[int], now: list[int]) -> float:
    """As the definition says it, with half a row more in each bin."""
    total, bins = 0.0, len(before)
    for old, new in zip(before, now, strict=True):
        p, q = (old + 0.5) / (sum(before) + 0.5 * bins), (new + 0.5) / (sum(now) + 0.5 * bins)
        total += (q - p) * math.log(q / p)
    return total


def labelled(counts: dict[str, int]) -> Rows:
    return [("a text", name) for name, count in counts.items() for _ in range(count)]


def long(lengths: list[int]) -> Rows:
    return [(" ".join(["word"] * length), "no") for length in lengths]


def test_the_index_of_labels_by_hand(write: Write) -> None:
    before, now = write(labelled({"no": 7, "yes": 2})), write(labelled({"no": 2, "yes": 7}))
    found = compare(before, now)
    # Shares 0.75 and 0.25 become 0.25 and 0.75 (with half a row more of each): twice 0.5 * ln 3.
    assert found.labels.value == pytest.approx(math.log(3), abs=1e-6)
    assert found.labels.moved == (Share("no", 0.777778, 0.222222), Share("yes", 0.222222, 0.777778))
    assert (found.rows_before, found.rows_now) == (9, 9)
    assert (found.length.value, found.vocabulary.value, found.words.value) == (0, 0, 0)


def test_classes_are_compared_by_name_and_may_come_and_go(write: Write) -> None:
    before = write(labelled({"no": 6, "yes": 3, "gone": 1}), ["no", "yes", "gone"])
    same = write(labelled({"no": 6, "yes": 3, "gone": 1}), ["gone", "yes", "no"])
    assert compare(before, same).labels.value == 0
    assert compare(before, same).labels.moved == ()

    found = compare(before, write(labelled({"no": 6, "yes": 3, "new": 1}), ["new", "yes", "no"]))
    assert found.labels.value == pytest.approx(psi([6, 3, 1, 0], [6, 3, 0, 1]), abs=1e-6)
    assert found.labels.moved == (Share("gone", 0.1, 0), Share("new", 0, 0.1))
    assert [share.name for share in found.classes] == ["no", "yes", "gone", "new"]


def test_the_five_that_moved_most_are_named(write: Write) -> None:
    classes = [f"class {number}" for number in range(8)]
    before = write(labelled(dict.fromkeys(classes, 10)), classes)
    now = write(labelled({name: 10 + 2 * index for index, name in enumerate(classes)}), classes)
    found = compare(before, now)
    strength = sorted(classes, key=lambda name: -psi_part(found, name))
    assert [share.name for share in found.labels.moved] == strength[:5]
    assert len(found.classes) == 8


def psi_part(found: Drift, name: str) -> float:
    (share,) = (share for share in found.classes if share.name == name)
    return (share.now - share.before) * math.log(share.now / share.before)


def test_each_class_of_a_row_counts(write: Write) -> None:
    before = write([("a", ["no"]), ("a", ["no", "yes"]), ("a", []), ("a", ["yes"])])
    now = write([("a", ["no"]), ("a", ["no"]), ("a", []), ("a", ["no", "yes"])])
    found = compare(before, now)
    assert found.labels.value == pytest.approx(psi([2, 2], [3, 1]), abs=1e-6)
    assert found.classes == (Share("no", 0.5, 0.75), Share("yes", 0.5, 0.25))
    # A published version may have had one class for each row.
    assert compare(write([("a", "no"), ("a", "yes")]), before).labels.value == 0


def test_the_bins_of_lengths_are_the_deciles_of_the_reference(write: Write) -> None:
    found = compare(write(long(list(range(1, 21)))), write(long([1, 2, 5, 6, 20, 90])))
    names = ["up to 2", *(f"{low} to {low + 1}" for low in range(3, 18, 2)), "more than 18"]
    assert [share.name for share in found.lengths] == names
    assert [share.before for share in found.lengths] == [0.1] * 10
    assert found.length.value == pytest.approx(psi([2] * 10, [2, 0, 2, 0, 0, 0, 0, 0, 0, 2]), abs=1e-6)


def test_a_length_that_most_texts_have_stands_alone(write: Write) -> None:
    found = compare(write(long([5] * 9)), write(long([4] * 3 + [5] * 3 + [6] * 3)))
    assert [share.name for share in found.lengths] == ["up to 4", "5", "more than 5"]
    assert found.length.value == pytest.approx(psi([0, 9, 0], [3, 3, 3]), abs=1e-6)


def test_new_words_are_counted_each_time_they_occur(write: Write) -> None:
    before = write([("The cat, the dog", "no"), ("ÄPFEL", "yes")])
    now = write([("the CAT äpfel bird bird", "no"), ("a fish-bird", "yes")])
    found = compare(before, now)
    assert found.vocabulary.value == 0.625  # bird three times, fish, a: of 8
    assert found.vocabulary.moved == (Share("bird", 0, 0.375), Share("a", 0, 0.125), Share("fish", 0, 0.125))


def test_the_divergence_of_words_is_scipys(write: Write) -> None:
    before = write([("a a a b", "no"), ("c", "yes")])
    now = write([("a b b d d d d", "no"), ("c", "yes")])
    found = compare(before, now)
    # Over a, b, c, d.
    assert found.words.value == pytest.approx(jensenshannon([3, 1, 1, 0], [1, 2, 1, 4], base=2) ** 2, abs=1e-6)
    assert [share.name for share in found.words.moved] == ["d", "a", "c", "b"]
    assert found.words.moved[0] == Share("d", 0, 0.5)
    none_in_common = compare(before, write([("x y z", "no"), ("z", "yes")]))
    assert (none_in_common.words.value, none_in_common.vocabulary.value) == (1, 1)


def test_texts_without_a_word(write: Write) -> None:
    silent, talking = write([("?!", "no"), ("…", "yes")]), write([("why", "no"), ("not", "yes")])
    both = compare(silent, silent)
    assert (both.words.value, both.vocabulary.value, both.length.value) == (0, 0, 0)
    begins = compare(silent, talking)
    assert (begins.words.value, begins.vocabulary.value) == (1, 1)
    assert [share.name for share in begins.lengths] == ["0", "more than 0"]
    ends = compare(talking, silent)
    assert (ends.words.value, ends.vocabulary.value) == (1, 0)
    assert ends.length.value > 0.5


def test_the_order_of_rows_changes_nothing(write: Write) -> None:
    dice = random.Random(3)
    words = [f"w{number}" for number in range(300)]

    def rows(count: int) -> list[tuple[str, str]]:
        return [(" ".join(dice.choices(words, k=dice.randint(0, 9))), dice.choice(["no", "yes"])) for _ in range(count)]

    before, now = rows(400), rows(300)
    first = compare(write(before), write(now))
    dice.shuffle(before)
    dice.shuffle(now)
    assert compare(write(before), write(now)) == first


def test_two_samples_of_the_same_differ_as_much_as_chance_makes_them(write: Write) -> None:
    dice = random.Random(5)
    words = [f"w{number}" for number in range(3000)]
    shares = [1 / (rank + 1) for rank in range(3000)]

    def rows(count: int, yes: float = 0.3) -> Rows:
        texts = (" ".join(dice.choices(words, shares, k=dice.randint(3, 20))) for _ in range(count))
        return [(text, "yes" if dice.random() < yes else "no") for text in texts]

    reference = write(rows(400))
    same, moved = compare(reference, write(rows(300))), compare(reference, write(rows(300, yes=0.8)))
    for name in ("labels", "length", "vocabulary", "words"):
        figure = getattr(same, name)
        assert figure.value == pytest.approx(figure.by_chance, rel=0.25, abs=0.05)
        assert figure.by_chance > 0
    assert same.words.value > 0.15
    assert moved.labels.value > 10 * moved.labels.by_chance


def test_rows_that_both_have_hide_nothing(write: Write) -> None:
    rows = [(f"word{number} another{number % 7}", "no") for number in range(300)]
    new = [(f"other{number} more{number % 7}", "no") for number in range(60)]
    same, grown = compare(write(rows), write(rows)), compare(write(rows), write(rows + new))
    assert [same.vocabulary.by_chance, same.words.by_chance, same.labels.by_chance] == [0, 0, 0]
    # Each row has a word of its own; seven words more are new where the 60 rows are those that were added.
    assert grown.vocabulary.value == pytest.approx(120 / 720, abs=1e-6)
    assert grown.vocabulary.by_chance == pytest.approx(60 / 720, abs=0.01)


ROWS = st.lists(st.tuples(st.text(max_size=30), st.sampled_from(["no", "yes"])), min_size=1, max_size=30)


@settings(deadline=None, max_examples=60)
@given(before=ROWS, now=ROWS)
def test_equal_rows_have_not_drifted_and_all_figures_are_in_range(before: Rows, now: Rows) -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        reference = written(Path(first), before, ["no", "yes"])
        same, found = compare(reference, reference), compare(reference, written(Path(second), now, ["no", "yes"]))
    for figure in (same.labels, same.length, same.vocabulary, same.words):
        assert (figure.value, figure.moved) == (0, ())
    for figure in (found.labels, found.length):
        assert np.isfinite(figure.value)
        assert figure.value >= 0
    for figure in (found.vocabulary, found.words):
        assert 0 <= figure.value <= 1
        assert 0 <= figure.by_chance <= 1
    for shares in (found.classes, found.lengths):
        assert sum(share.before for share in shares) == pytest.approx(1, abs=1e-4)
        assert sum(share.now for share in shares) == pytest.approx(1, abs=1e-4)
