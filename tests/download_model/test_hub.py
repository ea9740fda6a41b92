"""What is asked of a model's address."""

import pytest

from tasks.download_model.hub import archive_address


@pytest.mark.parametrize(
    ("handle", "address"),
    [
        ("https://tfhub.dev/google/nnlm/1", "https://tfhub.dev/google/nnlm/1?tf-hub-format=compressed"),
        ("https://h.org/m?key=a", "https://h.org/m?key=a&tf-hub-format=compressed"),
        ("https://h.org/m.tar.gz", "https://h.org/m.tar.gz"),
        ("https://h.org/M.TGZ?key=a", "https://h.org/M.TGZ?key=a"),
        ("https://h.org/m?tf-hub-format=compressed", "https://h.org/m?tf-hub-format=compressed"),
    ],
)
def test_addresses(handle: str, address: str) -> None:
    assert archive_address(handle) == address
