"""Downloads from http(s) addresses: models, and data.

What is tried again, and how often: a connection that fails, stalls or breaks off, and the answers 408, 425, 429 and
5xx; five times, with waits that double from half a second and carry jitter. Other answers of 4xx are final. A body
that broke off is continued where it stopped if the server offers that and vouches with an ETag that the file is still
the same. (After all five, the Prefect task tries again, more slowly.)

Queries are left out of all messages: they may hold tokens, and signed addresses do.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from hubtune.errors import HubtuneError, SourceNotFound, SourceUnavailable, UnsafeDownload
from hubtune.progress import Progress, Say

_ATTEMPTS = 5
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 10.0
_TIMEOUT = httpx.Timeout(connect=10, read=60, write=60, pool=60)
# 416: there is nothing to continue with; the next attempt begins anew.
_PASSING = {408, 416, 425, 429}
# Compression on the way would hide the file's true size from the check against Content-Length.
_HEADERS = {"Accept-Encoding": "identity", "Accept": "*/*"}
# Two letters at least, since C:/ is a drive; one slash is enough, since a mistyped address may hold a token too.
_ADDRESS_PARTS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+:/+)(?:[^/?#]*@)?(?P<place>[^?#]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """What a download is to be.

    Args:
        called: what it is called in messages: "a model".
        most_bytes: the most that it can hold; whoever sends more is not listened to any further.
        otherwise: what to do about an address that leads nowhere, after "check the address; ".
        page_remedy: what to do about an address that leads to a web page.
    """

    called: str
    most_bytes: int
    otherwise: str
    page_remedy: str


def is_address(handle: str) -> bool:
    """Whether a handle is an http(s) address.

    Args:
        handle: what the recipe says.

    Returns:
        True for http:// and https://.
    """
    return handle.lower().startswith(("http://", "https://"))


def shown(handle: str, *, patterns: bool = False) -> str:
    """A handle as it may be shown, logged and recorded.

    Args:
        handle: what the recipe says, or an address that it led to.
        patterns: whether names of files and objects may be patterns, in which `?` stands for any character.

    Returns:
        Of an address, scheme, host, port and path, without user, password, query and fragment; anything else unchanged.
    """
    parts = _ADDRESS_PARTS.match(handle)
    if parts is None or (patterns and parts["scheme"].lower().startswith(("gs:", "file:"))):
        return handle
    return parts["scheme"] + parts["place"]


def download(address: str, file: Path, wanted: Wanted, say: Say) -> None:
    """Download a file.

    Args:
        address: where it is.
        file: where to write it.
        wanted: what it is to be.
        say: takes progress lines.

    Raises:
        SourceNotFound: the server has no such file, or refuses it, or sends a web page.
        SourceUnavailable: it did not answer, or broke off, again and again.
        UnsafeDownload: it sends more than `wanted` allows, or redirects from https to http.
    """
    with _client() as client:
        _retrying("Download", say)(_attempt, client, address, _Partial(file), wanted, say)


def fingerprint(address: str, wanted: Wanted, say: Say) -> dict[str, Any] | None:
    """Ask the server which version of the file it would send.

    Args:
        address: where it is.
        wanted: what it is to be.
        say: takes a line for each failed attempt.

    Returns:
        Its ETag, date and size, as far as it gives them; None where a good answer gives neither ETag nor date. A
        server that does not answer is never taken for one that says nothing: what is remembered under None would be
        taken for the file of every later outage.

    Raises:
        SourceNotFound: the server has no such file, or refuses it, or sends a web page.
        SourceUnavailable: it did not answer, again and again.
        UnsafeDownload: it redirects from https to http.
    """
    with _client() as client:
        known = _retrying(f"Asking for the version of {wanted.called}", say)(_validators, client, address, wanted)
    return known if known["etag"] or known["last-modified"] else None


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
        raise UnsafeDownload(
            f"{response.url.host} redirects from https to http, where anybody on the way could change what is sent",
            where=f"{shown(str(response.url))} (leads to: {shown(str(target))})",
            remedy="give an address that stays with https, or download it by hand and give it as a file",
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
def _asking(address: str, wanted: Wanted) -> Iterator[None]:
    try:
        yield
    except (httpx.TooManyRedirects, httpx.InvalidURL, httpx.DecodingError, httpx.UnsupportedProtocol) as error:
        raise SourceNotFound(
            f"the address leads nowhere ({error})",
            where=shown(address),
            remedy=f"check the address; {wanted.otherwise}",
        ) from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        host = urlsplit(shown(address)).netloc
        raise SourceUnavailable(
            f"{host} did not answer, or broke off ({reason})", where=shown(address), remedy=_LATER
        ) from error


def _validators(client: httpx.Client, address: str, wanted: Wanted) -> dict[str, str | None]:
    # Not HEAD: hubs redirect to signed addresses, which are signed for GET alone.
    with _asking(address, wanted), client.stream("GET", address) as response:
        _check_answer(response, address, wanted)
        return {name: response.headers.get(name) for name in ("etag", "last-modified", "content-length")}


def _attempt(client: httpx.Client, address: str, partial: _Partial, wanted: Wanted, say: Say) -> None:
    done = partial.size_to_continue_from()
    headers = {"Range": f"bytes={done}-", "If-Range": partial.etag or ""} if done else {}
    with _asking(address, wanted), client.stream("GET", address, headers=headers) as response:
        if done and not _continues(response, done):
            partial.etag, done = None, 0
        _check_answer(response, address, wanted)
        etag = response.headers.get("etag", "")
        # A weak ETag ("W/...") does not promise the same bytes.
        partial.etag = etag if etag and not etag.startswith("W/") else None
        _write(response, address, partial.file, done, wanted, say)


def _continues(response: httpx.Response, done: int) -> bool:
    answered = response.headers.get("content-range", "")
    return response.status_code == httpx.codes.PARTIAL_CONTENT and answered.startswith(f"bytes {done}-")


def _check_answer(response: httpx.Response, address: str, wanted: Wanted) -> None:
    status = response.status_code
    answer = f"{response.url.host} answered {status} {response.reason_phrase}".rstrip()
    if status in _PASSING or status >= 500:
        raise SourceUnavailable(answer, where=shown(address), remedy=_LATER)
    if not response.is_success:
        raise SourceNotFound(answer, where=shown(address), remedy=f"check the address; {wanted.otherwise}")
    if response.headers.get("content-type", "").startswith("text/html"):
        raise SourceNotFound(
            f"{response.url.host} sent a web page, not {wanted.called}",
            where=f"{shown(address)} (at last: {shown(str(response.url))})",
            remedy=wanted.page_remedy,
        )


def _write(response: httpx.Response, address: str, file: Path, done: int, wanted: Wanted, say: Say) -> None:
    length = int(response.headers.get("content-length", 0)) or None
    total = length + done if length else None
    progress = Progress(say, "Downloading", total, "bytes")
    progress.advance(done)
    with file.open("r+b" if done else "wb") as target:
        target.seek(done)
        for chunk in response.iter_raw():
            if not done and not target.tell() and chunk.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
                raise SourceNotFound(
                    f"the server sent a web page, not {wanted.called}", where=shown(address), remedy=wanted.page_remedy
                )
            if target.tell() + len(chunk) > wanted.most_bytes:
                raise UnsafeDownload(
                    f"the download is larger than {wanted.most_bytes / 1e9:g} GB: {wanted.called} holds less",
                    where=shown(address),
                    remedy=wanted.page_remedy,
                )
            target.write(chunk)
            progress.advance(len(chunk))
        target.truncate()
        arrived = target.tell()
    if total is not None and arrived != total:
        raise SourceUnavailable(f"{arrived} of {total} bytes arrived", where=shown(address), remedy=_LATER)
    progress.finish()


_LATER = "run again later"
