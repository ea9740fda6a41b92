"""Requests to Google Cloud Storage, through gcsfs: what the store and data sources in buckets have in common.

The retry policy is in this file alone. A fault that passes (no connection, a stall, 408, 429, 5xx, a damaged answer)
is tried again with exponentially growing, jittered waits; one that does not (no permission, no bucket) is not.
"""

import base64
import contextlib
import errno
import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MethodType
from typing import Any, TypeVar

from hubtune.errors import SourceUnavailable, StoreUnavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for Cloud Storage. With these values a dead connection is given up after three minutes.

    gcsfs has no read timeout of its own: a stalled connection hung for 36 s in a measurement, and can hang for ever.
    Nor does a timeout for reading count while a body is sent: what was sent and not taken for as long (`read_seconds`)
    ends the connection too, where the operating system can tell (Linux).
    """

    attempts: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 20.0
    connect_seconds: float = 10.0
    read_seconds: float = 30.0


PATIENCE = Patience()


@dataclass(frozen=True)
class Object:
    """What Cloud Storage says of an object; of a folder, nothing."""

    size: int = 0
    md5: str | None = None  # hexadecimal; composite objects have none
    crc32c: str | None = None  # base64; every object has one
    generation: int = 0  # another one for each content


class CloudStorage:
    """One bucket.

    Args:
        bucket: its name.
        setting: where that name is set, for messages.
        unavailable: the error that a fault ends as.
        patience: how long to wait for answers.
    """

    def __init__(
        self,
        bucket: str,
        setting: str,
        unavailable: type[StoreUnavailable | SourceUnavailable],
        patience: Patience | None = None,
    ) -> None:
        self.bucket = bucket
        self.patience = patience or PATIENCE
        self._setting, self._unavailable = setting, unavailable

    @cached_property
    def filesystem(self) -> Any:
        """Gcsfs's own, which takes keys that begin with the bucket's name."""
        import aiohttp

        # Not `gcsfs.GCSFileSystem`: that one may be the variant for zonal buckets, which asks a gRPC service about
        # every bucket and waits 100 s for it where there is only an emulator.
        from gcsfs.core import GCSFileSystem

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.patience.connect_seconds, sock_read=self.patience.read_seconds
        )
        # An emulator takes no credentials, and only an emulator goes without.
        token = "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else "google_default"
        with self._explained("open", self.bucket):
            filesystem = GCSFileSystem(
                token=token, requests_timeout=timeout, use_listings_cache=False, skip_instance_cache=True
            )
        # gcsfs repeats each request up to six times over half a minute, and that cannot be set: repeating is done here.
        filesystem._request = MethodType(GCSFileSystem._request.__wrapped__, filesystem)

        async def set_session(self: Any) -> Any:
            # A connector can only be made where the requests are: in gcsfs's own loop. One with a certificate of the
            # client is gcsfs's to make.
            if self._session is None and not getattr(self, "_use_client_cert", False):
                self.session_kwargs["connector"] = aiohttp.TCPConnector(socket_factory=new_socket)
            return await GCSFileSystem._set_session(self)

        milliseconds = int(self.patience.read_seconds * 1000)

        def new_socket(address: tuple[Any, ...]) -> socket.socket:
            made = socket.socket(*address[:3])
            if sys.platform == "linux":
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            return made

        filesystem._set_session = MethodType(set_session, filesystem)
        return filesystem

    def read(self, key: str) -> bytes:
        """The content of a small object; its MD5 is compared.

        Raises:
            FileNotFoundError: there is none.
        """

        def get() -> bytes:
            headers, content = self.filesystem.call("GET", self.filesystem.url(key))
            _check_hash(headers, content)
            return bytes(content)

        return self.persist("read", key, get)

    def get_file(self, key: str, file: str) -> None:
        """Download an object, without looking at its content: gcsfs lets flipped and missing bytes pass.

        Raises:
            FileNotFoundError: there is none.
        """
        # One stream: gcsfs's ranged reads of big files may each come from a connection that lies.
        self.persist("read", key, lambda: self.filesystem.get_file(key, file, concurrency=1))

    def list(self, prefix: str, *, deep: bool = True) -> dict[str, Object]:
        """The objects whose paths begin alike, by the rest of their paths.

        Args:
            prefix: a path within the bucket.
            deep: whether objects in folders are listed one by one; otherwise a folder is listed as one name that
                ends in a slash.

        Returns:
            Each object; of a folder, an empty one.
        """
        query = {"prefix": prefix, "fields": "items(name,size,md5Hash,crc32c,generation),prefixes,nextPageToken"}
        if not deep:
            query["delimiter"] = "/"
        found: dict[str, Object] = {}
        while True:
            try:
                page = self.persist("list", f"{self.bucket}/{prefix}".rstrip("/"), lambda: self.page(query))
            except FileNotFoundError as error:
                raise self.no_bucket() from error
            found |= {item["name"].removeprefix(prefix): _described(item) for item in page.get("items", [])}
            found |= {name.removeprefix(prefix): Object() for name in page.get("prefixes", [])}
            if "nextPageToken" not in page:
                return found
            query["pageToken"] = page["nextPageToken"]

    def page(self, query: Mapping[str, str]) -> dict[str, Any]:
        """One page of a listing, without trying again."""
        page: dict[str, Any] = self.filesystem.call("GET", "b/{}/o", self.bucket, json_out=True, **query)
        return page

    def persist(self, action: str, key: str, call: Callable[[], T]) -> T:
        """Make a call until it succeeds, or fails in a way that does not pass.

        Args:
            action: what it does, for messages: "read".
            key: the object, for messages.
            call: makes the request.

        Returns:
            What the call returned.

        Raises:
            FileNotFoundError: there is no such object.
            FileExistsError: there is one, where none was expected.
            StoreUnavailable: it kept failing; or `SourceUnavailable`, as was asked for.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

        first, longest = self.patience.first_wait_seconds, self.patience.longest_wait_seconds
        waits = wait_exponential(multiplier=first, max=longest) + wait_random(0, first)
        retrying = Retrying(
            stop=stop_after_attempt(self.patience.attempts),
            wait=waits,
            retry=retry_if_exception(passes),
            reraise=True,
        )
        with self._explained(action, key):
            return retrying(call)

    @contextlib.contextmanager
    def _explained(self, action: str, key: str) -> Iterator[None]:
        import aiohttp
        import google.auth.exceptions
        from gcsfs.retry import ChecksumError, HttpError, NonRetryableError

        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise  # an answer, not a fault
        except (
            OSError,
            ValueError,
            aiohttp.ClientError,
            google.auth.exceptions.GoogleAuthError,
            ChecksumError,
            HttpError,
            NonRetryableError,
        ) as error:
            where = f"gs://{key}"
            reason = " ".join(str(error).split()) or type(error).__name__
            raise self._unavailable(
                f"could not {action} {where}: {reason}", where=where, remedy=_remedy(error)
            ) from error

    def no_bucket(self) -> StoreUnavailable | SourceUnavailable:
        """The error that there is no such bucket."""
        return self._unavailable(
            f"there is no bucket {self.bucket!r}",
            where=f"gs://{self.bucket}",
            remedy=f"create the bucket, or correct {self._setting}",
        )


def _described(item: Mapping[str, Any]) -> Object:
    md5 = item.get("md5Hash")
    return Object(
        size=int(item["size"]),
        md5=base64.b64decode(md5).hex() if md5 else None,
        crc32c=item.get("crc32c"),
        generation=int(item["generation"]),
    )


def _check_hash(headers: Any, content: bytes) -> None:
    """Compare a record with the MD5 in its reply's headers. gcsfs lets flipped and missing bytes pass."""
    from gcsfs.retry import ChecksumError

    hashes = [part.strip() for value in headers.getall("X-Goog-Hash", []) for part in value.split(",")]
    expected = [part.removeprefix("md5=") for part in hashes if part.startswith("md5=")]
    found = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    if expected and expected[0] != found:
        raise ChecksumError(f"the reply's MD5 is {found}, expected {expected[0]}")


def passes(error: BaseException) -> bool:
    """Whether a fault may be gone at the next attempt.

    Args:
        error: what gcsfs raised.

    Returns:
        True where there was no connection, a stall, or an answer that says so.
    """
    import google.auth.exceptions
    from gcsfs.retry import is_retriable

    return isinstance(
        error, TimeoutError | ConnectionError | json.JSONDecodeError | google.auth.exceptions.TransportError
    ) or bool(is_retriable(error))


def _remedy(error: Exception) -> str:
    import google.auth.exceptions

    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return "make room on the local disk and see that you may write there, or set HUBTUNE_CACHE to another"
    code = str(getattr(error, "code", ""))
    if isinstance(error, google.auth.exceptions.GoogleAuthError) or code == "401":
        return "log in (gcloud auth application-default login), or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
    if "Forbidden" in str(error) or code == "403":
        return "give this account the role Storage Object User on the bucket"
    return "check the network and https://status.cloud.google.com, then run again: what was stored is kept"
