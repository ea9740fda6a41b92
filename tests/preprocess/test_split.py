import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.preprocess.split import positions_of, split_by_position, split_exactly

TEXTS = pl.Series("text", [f"Is {number} a good number?" for number in range(4000)])


def parts(validation: float, test: float, texts: pl.Series = TEXTS) -> dict[str, set[str]]:
    splits = split_by_position(positions_of(texts), validation, test)
    return {name: set(texts.filter(splits == name)) for name in ("train", "validation", "test")}


def test_the_split_of_a_text_never_changes() -> None:
    # These are facts about published data: if this test fails, a model will be tested on what an earlier one learned.
    texts = pl.Series("text", ["Why?", "How?", "Who?", "Where?", "When?", "Which?", "Whose?", "Is it?", "Été ?", "谁?"])
    assert split_by_position(positions_of(texts), 0.3, 0.3).to_list() == [
        *("train", "train", "validation", "test", "test"),
        *("train", "validation", "train", "validation", "test"),
    ]


def test_shares_are_met_on_average() -> None:
    found = parts(0.1, 0.2)
    # Four standard deviations of a binomial count.
    assert abs(len(found["validation"]) - 400) < 4 * (4000 * 0.1 * 0.9) ** 0.5
    assert abs(len(found["test"]) - 800) < 4 * (4000 * 0.2 * 0.8) ** 0.5


def test_extreme_shares() -> None:
    assert parts(0.0, 0.0)["train"] == set(TEXTS)
    assert parts(0.5, 0.5)["train"] == set()
    assert split_by_position(positions_of(pl.Series("text", [], dtype=pl.String)), 0.1, 0.1).to_list() == []


shares = st.floats(0.0, 0.5)


@settings(deadline=None, max_examples=40)
@given(low=shares, high=shares, other=shares)
def test_a_larger_share_takes_texts_from_train_only(low: float, high: float, other: float) -> None:
    low, high = sorted((low, high))
    some = TEXTS.head(300)
    before, after = parts(other, low, some), parts(other, high, some)
    assert before["test"] <= after["test"]
    assert before["validation"] == after["validation"]
    before, after = parts(low, other, some), parts(high, other, some)
    assert before["validation"] <= after["validation"]
    assert before["test"] == after["test"]


@settings(deadline=None, max_examples=40)
@given(old=st.sets(st.text(min_size=1), max_size=20), new=st.sets(st.text(min_size=1), max_size=20))
def test_growth_moves_no_text(old: set[str], new: set[str]) -> None:
    before = pl.Series("text", sorted(old), dtype=pl.String)
    after = pl.Series("text", sorted(old | new, reverse=True), dtype=pl.String)
    was = dict(zip(before, split_by_position(positions_of(before), 0.2, 0.2), strict=True))
    now = dict(zip(after, split_by_position(positions_of(after), 0.2, 0.2), strict=True))
    assert was.items() <= now.items()


@settings(deadline=None, max_examples=40)
@given(
    classes=st.lists(st.sampled_from("abc"), max_size=40),
    validation=st.floats(0.01, 0.4),
    test=st.just(0.0) | st.floats(0.01, 0.4),
)
@example(classes=["a"] * 4, validation=0.4, test=0.4)
@example(classes=["a"] * 3, validation=0.3, test=0.5)
def test_exact_shares_hold_for_each_class(classes: list[str], validation: float, test: float) -> None:
    splits = split_exactly(
        positions_of(TEXTS.head(len(classes))), pl.Series("class", classes, dtype=pl.String), validation, test
    )
    for name in set(classes):
        mine = [split for split, each in zip(splits, classes, strict=True) if each == name]
        for split, share in (("validation", validation), ("test", test)):
            wanted = len(mine) * share
            # Of few texts, each split has one before any has its share.
            assert abs(mine.count(split) - wanted) <= 0.5 or min(mine.count(split), mine.count("train")) == 1
        if len(mine) >= 3:
            assert set(mine) == ({"train", "validation", "test"} if test else {"train", "validation"})


def test_exact_shares_depend_on_the_texts_and_not_on_their_order() -> None:
    some, kinds = TEXTS.head(50), pl.Series("class", ["a", "b"] * 25)
    ahead = dict(zip(some, split_exactly(positions_of(some), kinds, 0.2, 0.2), strict=True))
    back = dict(
        zip(some.reverse(), split_exactly(positions_of(some.reverse()), kinds.reverse(), 0.2, 0.2), strict=True)
    )
    assert ahead == back
