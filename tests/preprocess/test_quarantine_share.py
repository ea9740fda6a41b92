"""When somebody is told of rows in quarantine before they are too many."""

import pytest

from schemas.handoff import QuarantineFacts
from tasks.preprocess.refuse import much_in_quarantine
from tests.preprocess.conftest import Run


def facts(quarantined: int, dropped: int = 0) -> QuarantineFacts:
    reasons = {"null_text": 1, "missing_label": quarantined - 1} if quarantined > 1 else {"null_text": quarantined}
    return QuarantineFacts(
        rows_in=1000 + dropped,
        rows_out=1000 - quarantined,
        quarantined=quarantined,
        duplicates=0,
        dropped=dropped,
        reasons=reasons,
    )


@pytest.mark.parametrize(
    ("quarantined", "limit", "told"), [(25, 0.05, False), (26, 0.05, True), (500, 1.0, False), (501, 1.0, True)]
)
def test_more_than_half_of_what_is_allowed_is_told(quarantined: int, limit: float, told: bool) -> None:
    assert (much_in_quarantine(facts(quarantined), limit) is not None) == told
    # Rows that are not wanted are no part of the whole.
    assert (much_in_quarantine(facts(quarantined, dropped=9000), limit) is not None) == told


def test_nothing_in_quarantine_is_never_told() -> None:
    assert much_in_quarantine(facts(0), 0.0) is None
    none = QuarantineFacts(rows_in=10, rows_out=0, quarantined=0, duplicates=0, dropped=10, reasons={})
    assert much_in_quarantine(none, 0.05) is None


def test_it_names_every_reason_with_its_share(run: Run) -> None:
    good = [(f"Is {number} {'even' if number % 2 else 'odd'}?", str(number % 2)) for number in range(300)]
    away = run([*good, *[("nothing", None)] * 6, *[(None, "1")] * 4]).away
    assert much_in_quarantine(away, 0.05) == (
        "10 of 310 rows are in quarantine (3.23%), and preprocess.max_quarantine allows 5.00%: "
        "missing label 1.94% (6), null text 1.29% (4)"
    )
