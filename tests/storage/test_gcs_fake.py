"""The fake is itself held to what Cloud Storage does, by Google's own client."""

from collections.abc import Iterator

import pytest

from tests.gcs_fake import GcsFake

storage = pytest.importorskip("google.cloud.storage")
exceptions = pytest.importorskip("google.api_core.exceptions")


@pytest.fixture
def client(gcs: GcsFake) -> Iterator[storage.Client]:  # type: ignore[name-defined]  # imported if it is installed
    from google.auth.credentials import AnonymousCredentials

    with storage.Client("project", AnonymousCredentials()) as client:  # type: ignore[no-untyped-call]  # untyped
        yield client
