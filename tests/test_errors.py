import errno
import json
import pickle

import pytest

from hubtune import errors
from hubtune.errors import HubtuneError, InvalidRecipe, disk_full, from_json


def _family(kind: type[HubtuneError]) -> list[type[HubtuneError]]:
    return [kind, *(relative for child in kind.__subclasses__() for relative in _family(child))]


@pytest.mark.parametrize("kind", _family(HubtuneError), ids=lambda kind: kind.__name__)
def test_every_error_survives_a_process_border(kind: type[HubtuneError]) -> None:
    error = kind("the value 7 is wrong", where="data.text", remedy="give a text")
    # Worker pools pickle exceptions, fresh processes send them as JSON: both must keep class and text.
    for copy in (pickle.loads(pickle.dumps(error)), from_json(json.loads(json.dumps(error.to_json())))):
        assert type(copy) is kind
        assert str(copy) == str(error) == "the value 7 is wrong\n  where:  data.text\n  remedy: give a text"


def test_exit_status_tells_wrong_input_from_a_failed_run() -> None:
    wrong_input = {kind.__name__ for kind in _family(HubtuneError) if kind.exit_status == 2}
    assert wrong_input == {"InvalidRecipe", "ModelNotFound"}
    assert all(kind.exit_status in (1, 2) for kind in _family(HubtuneError))


def test_wrong_input_is_never_retried() -> None:
    assert not any(kind.retryable for kind in _family(HubtuneError) if kind.exit_status == 2)
    assert not errors.InvalidData.retryable
    assert not errors.QuarantineLimitExceeded.retryable
    assert errors.SourceUnavailable.retryable


def test_an_error_of_a_later_version_is_still_an_error() -> None:
    error = from_json(InvalidRecipe("a", where="b", remedy="c").to_json() | {"type": "NotYetKnown"})
    assert type(error) is HubtuneError
    assert error.what == "a"


def test_a_full_disk_is_told_whoever_found_it() -> None:
    named = disk_full(OSError(errno.ENOSPC, "No space left on device", "/store/rows"))
    assert named is not None
    assert named.where == "/store/rows"
    in_words = disk_full(RuntimeError("/store/x.pb.tmp; No space left on device"))
    assert in_words is not None
    assert in_words.where == "RuntimeError: /store/x.pb.tmp; No space left on device"
    assert disk_full(OSError(errno.EDQUOT, "Disk quota exceeded")) is not None
    assert disk_full(OSError(errno.EACCES, "Permission denied")) is None
    assert disk_full(RuntimeError("no space")) is None
