"""Source: an http(s) address, such as a TF Hub handle.

What is tried again, and how often: a connection that fails, stalls or breaks off, and the answers 408, 425, 429 and
5xx; five times, with waits that double from half a second and carry jitter. Other answers of 4xx are final. A body
that broke off is continued where it stopped if the server offers that and vouches with an ETag that the file is still
the same. (After all five, the Prefect task tries again, more slowly.)

Queries are left out of all messages: they may hold tokens, and signed addresses do.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from hubtune.errors import HubtuneError, SourceNotFound, SourceUnavailable, UnsafeArchive
from hubtune.progress import Progress, Say
from tasks.download_model.archive import MOST_BYTES

_ATTEMPTS = 5
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 10.0
_TIMEOUT = httpx.Timeout(connect=10, read=60, write=60, pool=60)
# 416: there is nothing to continue with; the next attempt begins anew.
_PASSING = {408, 416, 425, 429}
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")
# Compression on the way would hide the file's true size from the check against Content-Length.
_HEADERS = {"Accept-Encoding": "identity", "Accept": "*/*"}
# Two letters at least, since C:/ is a drive; one slash is enough, since a mistyped address may hold a token too.
_ADDRESS_PARTS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+:/+)(?:[^/?#]*@)?(?P<place>[^?#]*)", re.IGNORECASE)


def is_address(handle: str) -> bool:
    """Whether a handle is an http(s) address.

    Args:
        handle: what the recipe says.

    Returns:
        True for http:// and https://.
    """
    return handle.lower().startswith(("http://", "https://"))


def shown(handle: str) -> str:
    """A handle as it may be shown, logged and recorded.

    Args:
        handle: what the recipe says, or an address that it led to.

    Returns:
        Of an address, scheme, host, port and path, without user, password, query and fragment; anything else unchanged.
    """
    parts = _ADDRESS_PARTS.match(handle)
    return parts["scheme"] + parts["place"] if parts else handle


def download(handle: str, file: Path, say: Say) -> None:
    """Download a model's archive.

    Args:
        handle: an address; one that does not name an archive is asked for its compressed form, as TF Hub's own
            library does.
        file: where to write it.
        say: takes progress lines.

    Raises:
        SourceNotFound: the server has no such model, or refuses it, or sends a web page.
        SourceUnavailable: it did not answer, or broke off, again and again.
        UnsafeArchive: it sends more than any model holds, or redirects from https to http.
    """
    with _client() as client:
        _retrying("Download", say)(_attempt, client, handle, _Partial(file), say)


def fingerprint(handle: str, say: Say) -> dict[str, Any] | None:
    """Ask the server which version of the file it would send.

    Args:
        handle: as for `download`.
        say: takes a line for each failed attempt.

    Returns:
        Its ETag, date and size, as far as it gives them; None where a good answer gives neither ETag nor date. A
        server that does not answer is never taken for one that says nothing: what is remembered under None would be
        taken for the model of every later outage.

    Raises:
        SourceNotFound: the server has no such model, or refuses it, or sends a web page.
        SourceUnavailable: it did not answer, again and again.
        UnsafeArchive: it redirects from https to http.
    """
    with _client() as client:
        known = _retrying("Asking for the model's version", say)(_validators, client, handle)
    return known if known["etag"] or known["last-modified"] else None


def archive_address(handle: str) -> str:
    """The address at which a handle's archive is served.

    Args:
        handle: an http(s) address.

    Returns:
        The address itself where its path names an archive; otherwise with TF Hub's query for the compressed form
        (https://www.tensorflow.org/hub/hosting, "Compressed").
    """
    scheme, host, path, query, _ = urlsplit(handle)
    if path.lower().endswith(_ARCHIVES) or "tf-hub-format=" in query:
        return handle
    return urlunsplit((scheme, host, path, "&".join(filter(None, [query, "tf-hub-format=compressed"])), ""))


class _Partial:
    """What has arrived so far, and the ETag that it belongs to."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.etag: str | None = None

    def size_to_continue_from(self) -> int:
        return self.file.stat().st_size if self.etag and self.file.exists() else 0


def _client() -> httpx.Client:
    hooks = {"response": [_refuse_redirect_to_http]}
    return httpx.Client(follow_redirects=True, timeout=_TIMEOUT, headers=_HEADERS, event_hooks=hooks)


def _refuse_redirect_to_http(response: httpx.Response) -> None:
    if not response.has_redirect_location or response.url.scheme != "https":
        return
    target = response.url.join(response.headers["location"])
    if target.scheme == "http":
        raise UnsafeArchive(
            f"{response.url.host} redirects from https to http, where anybody on the way could change the model",
            where=f"{shown(str(response.url))} (leads to: {shown(str(target))})",
            remedy="give an address that stays with https, or download the model by hand and give it as a file",
        )


def _retrying(work: str, say: Say) -> Retrying:
    def note(attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        wait = attempt.next_action.sleep if attempt.next_action else 0
        reason = error.what if isinstance(error, HubtuneError) else error
        say(f"{work}: {reason}; trying again in {wait:.1f} s ({attempt.attempt_number} of {_ATTEMPTS})")

    return Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS) + wait_random(0, _FIRST_WAIT_SECONDS),
        retry=retry_if_exception_type(SourceUnavailable),
        before_sleep=note,
        reraise=True,
    )


@contextlib.contextmanager
def _asking(handle: str) -> Iterator[None]:
    try:
        yield
    except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.DecodingError, httpx.UnsupportedProtocol) as error:
        raise SourceNotFound(f"the address leads nowhere ({error})", where=shown(handle), remedy=_ADDRESS) from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        host = urlsplit(shown(handle)).netloc
        raise SourceUnavailable(
            f"{host} did not answer, or broke off ({reason})", where=shown(handle), remedy=_LATER
        ) from error


def _validators(client: httpx.Client, handle: str) -> dict[str, str | None]:
    # Not HEAD: hubs redirect to signed addresses, which are signed for GET alone.
    with _asking(handle), client.stream("GET", archive_address(handle)) as response:
        _check_answer(response, handle)
        return {name: response.headers.get(name) for name in ("etag", "last-modified", "content-length")}


def _attempt(client: httpx.Client, handle: str, partial: _Partial, say: Say) -> None:
    done = partial.size_to_continue_from()
    headers = {"Range": f"bytes={done}-", "If-Range": partial.etag or ""} if done else {}
    with _asking(handle), client.stream("GET", archive_address(handle), headers=headers) as response:
        if done and not _continues(response, done):
            partial.etag, done = None, 0
        _check_answer(response, handle)
        etag = response.headers.get("etag", "")
        # A weak ETag ("W/...") does not promise the same bytes.
        partial.etag = etag if etag and not etag.startswith("W/") else None
        _write(response, handle, partial.file, done, say)


def _continues(response: httpx.Response, done: int) -> bool:
    answered = response.headers.get("content-range", "")
    return response.status_code == httpx.codes.PARTIAL_CONTENT and answered.startswith(f"bytes {done}-")


def _check_answer(response: httpx.Response, handle: str) -> None:
    status = response.status_code
    answer = f"{response.url.host} answered {status} {response.reason_phrase}".rstrip()
    if status in _PASSING or status >= 500:
        raise SourceUnavailable(answer, where=shown(handle), remedy=_LATER)
    if not response.is_success:
        raise SourceNotFound(answer, where=shown(handle), remedy=_ADDRESS)
    if response.headers.get("content-type", "").startswith("text/html"):
        raise SourceNotFound(
            f"{response.url.host} sent a web page, not a model",
            where=f"{shown(handle)} (at last: {shown(str(response.url))})",
            remedy=_PAGE,
        )


def _write(response: httpx.Response, handle: str, file: Path, done: int, say: Say) -> None:
    length = int(response.headers.get("content-length", 0)) or None
    total = length + done if length else None
    progress = Progress(say, "Downloading", total, "bytes")
    progress.advance(done)
    with file.open("r+b" if done else "wb") as target:
        target.seek(done)
        for chunk in response.iter_raw():
            if not done and not target.tell() and chunk.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
                raise SourceNotFound("the server sent a web page, not a model", where=shown(handle), remedy=_PAGE)
            if target.tell() + len(chunk) > MOST_BYTES:
                raise UnsafeArchive(
                    f"the download is larger than {MOST_BYTES / 1e9:g} GB", where=shown(handle), remedy=_PAGE
                )
            target.write(chunk)
            progress.advance(len(chunk))
        target.truncate()
        arrived = target.tell()
    if total is not None and arrived != total:
        raise SourceUnavailable(f"{arrived} of {total} bytes arrived", where=shown(handle), remedy=_LATER)
    progress.finish()


_LATER = "run again later; what is done is kept"
_ADDRESS = "check the address; a model that needs a login must be downloaded by hand and given as a file"
_PAGE = "give the address of the model itself, which ends in its version number or in .tar.gz"
