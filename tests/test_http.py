"""Downloads from a real server that fails in the ways that servers do."""

import hashlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from hubtune.errors import HubtuneError, SourceNotFound, SourceUnavailable, UnsafeDownload
from hubtune.progress import Say
from tasks import http
from tests.http_server import Answer, HttpServer, body, ranges, running, status

WANTED = http.Wanted("a model", 1_000_000, "log in", "give another address")
CONTENT = hashlib.shake_128(b"a model").digest(300_000)
WHOLE = body(CONTENT, ETag='"v1"')
PATH = "/google/nnlm/1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    monkeypatch.setattr(http, "_FIRST_WAIT_SECONDS", 0.01)
    with running() as started:
        yield started


def downloaded(server: HttpServer, folder: Path, path: str = PATH) -> list[str]:
    lines: list[str] = []
    http.download(server.address(path), folder / "file", WANTED, lines.append)
    assert (folder / "file").read_bytes() == CONTENT
    return lines


def test_a_download_is_told_of(server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [WHOLE]
    lines = downloaded(server, tmp_path)
    assert [path for path, _ in server.requests] == [PATH]
    assert lines[-1].startswith("Downloading: 0.3 MB done")


def test_redirects_are_followed(server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(302, Location=server.address("/bucket/file"))]
    server.answers["/bucket/file"] = [WHOLE]
    downloaded(server, tmp_path)


def test_a_server_that_is_busy_twice_is_asked_a_third_time(server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(503), status(429), WHOLE]
    lines = downloaded(server, tmp_path)
    assert len(server.requests) == 3
    assert "127.0.0.1 answered 503 Service Unavailable; trying again" in lines[0]


def test_a_server_that_stays_busy_is_given_up(server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(500)]
    with pytest.raises(SourceUnavailable, match="500") as caught:
        downloaded(server, tmp_path)
    assert len(server.requests) == 5
    assert caught.value.retryable


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_other_refusals_are_final(code: int, server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(code)]
    with pytest.raises(SourceNotFound, match=str(code)) as caught:
        downloaded(server, tmp_path)
    assert len(server.requests) == 1
    assert PATH in caught.value.where
    assert caught.value.remedy == "check the address; log in"


def test_a_body_that_breaks_off_is_continued(server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(CONTENT[:100_000], length=len(CONTENT), ETag='"v1"'), ranges(CONTENT, '"v1"')]
    downloaded(server, tmp_path)
    assert server.requests[1][1]["range"] == "bytes=100000-"
    assert server.requests[1][1]["if-range"] == '"v1"'


def test_a_body_that_breaks_off_begins_anew_when_the_file_changed(server: HttpServer, tmp_path: Path) -> None:
    other = bytes(200_000)
    server.answers[PATH] = [body(other[:100_000], length=len(other), ETag='"v1"'), ranges(CONTENT, '"v2"')]
    downloaded(server, tmp_path)


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_a_body_that_breaks_off_begins_anew_without_a_strong_etag(
    etag: str, server: HttpServer, tmp_path: Path
) -> None:
    headers = {"ETag": etag} if etag else {}
    server.answers[PATH] = [body(CONTENT[:9], length=len(CONTENT), **headers), WHOLE]
    downloaded(server, tmp_path)
    assert "range" not in server.requests[1][1]


def test_a_range_that_cannot_be_had_begins_anew(server: HttpServer, tmp_path: Path) -> None:
    broken_off = body(CONTENT[:100_000], length=len(CONTENT), ETag='"v1"')
    server.answers[PATH] = [broken_off, status(416), WHOLE]
    downloaded(server, tmp_path)
    assert ["range" in headers for _, headers in server.requests] == [False, True, False]


def test_a_body_that_always_breaks_off_is_given_up(server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(CONTENT[:-1], length=len(CONTENT))]
    with pytest.raises(SourceUnavailable, match="did not answer, or broke off"):
        downloaded(server, tmp_path)


@pytest.mark.parametrize(
    "answer",
    [body(b"Models", Content_Type="text/html; charset=utf-8"), body(b"\n<!DOCTYPE html><title>Models</title>")],
)
def test_a_web_page_is_no_model(answer: Answer, server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [answer]
    with pytest.raises(SourceNotFound, match="sent a web page, not a model"):
        downloaded(server, tmp_path)
    assert len(server.requests) == 1


def test_a_download_without_end_is_stopped(server: HttpServer, tmp_path: Path) -> None:
    server.answers[PATH] = [WHOLE]
    with pytest.raises(UnsafeDownload, match="larger than"):
        http.download(server.address(PATH), tmp_path / "file", replace(WANTED, most_bytes=100_000), print)
    assert (tmp_path / "file").stat().st_size <= 100_000


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_FIRST_WAIT_SECONDS", 0.01)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/m.tar.gz"
        with pytest.raises(SourceUnavailable, match="did not answer"):
            http.download(address, tmp_path / "file", WANTED, print)
        with pytest.raises(SourceUnavailable, match="did not answer"):
            http.fingerprint(address, WANTED, print)


@pytest.mark.parametrize("location", ["/m/1", "gopher://127.0.0.1/1", "http://127.0.0.1:port/1"])
def test_redirects_that_lead_nowhere(location: str, server: HttpServer, tmp_path: Path) -> None:
    server.answers["/m/1"] = [status(302, Location=location)]
    with pytest.raises((SourceNotFound, SourceUnavailable)):
        downloaded(server, tmp_path, "/m/1")


@pytest.mark.parametrize(
    "ask",
    [
        lambda address, say: http.fingerprint(address, WANTED, say),
        lambda address, say: http.download(address, Path("nowhere"), WANTED, say),
    ],
)
def test_a_redirect_from_https_to_http_is_refused(
    ask: Callable[[str, Say], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    # A mock: a server with a certificate that is trusted cannot run here.
    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(302, headers={"Location": "http://h.org/file?signature=secret"})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    with pytest.raises(UnsafeDownload, match="redirects from https to http") as caught:
        ask("https://h.org/m.tar.gz?token=secret", print)
    assert asked == ["https://h.org/m.tar.gz?token=secret"]
    assert not caught.value.retryable
    assert caught.value.where == "https://h.org/m.tar.gz (leads to: http://h.org/file)"
    assert "stays with https" in caught.value.remedy


def test_the_fingerprint_is_what_the_server_says(server: HttpServer) -> None:
    server.answers[PATH] = [status(302, Location=server.address("/file"))]
    server.answers["/file"] = [WHOLE]
    assert http.fingerprint(server.address(PATH), WANTED, print) == {
        "etag": '"v1"',
        "last-modified": None,
        "content-length": str(len(CONTENT)),
    }


def test_a_server_that_says_nothing_gives_no_fingerprint(server: HttpServer) -> None:
    server.answers[PATH] = [body(CONTENT)]
    assert http.fingerprint(server.address(PATH), WANTED, print) is None


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_not_one_that_says_nothing(code: int, server: HttpServer) -> None:
    server.answers[PATH] = [status(code)]
    with pytest.raises(SourceUnavailable, match=str(code)) as caught:
        http.fingerprint(server.address(PATH), WANTED, print)
    assert caught.value.retryable
    assert len(server.requests) == 5


def test_a_busy_server_is_asked_for_the_fingerprint_again(server: HttpServer) -> None:
    server.answers[PATH] = [status(503), WHOLE]
    lines: list[str] = []
    known = http.fingerprint(server.address(PATH), WANTED, lines.append)
    assert known is not None
    assert known["etag"] == '"v1"'
    assert "answered 503 Service Unavailable; trying again" in lines[0]


@pytest.mark.parametrize(
    "answer", [status(404, ETag='"page"'), status(403), body(b"Models", Content_Type="text/html", ETag='"page"')]
)
def test_what_cannot_be_had_has_no_fingerprint(answer: Answer, server: HttpServer) -> None:
    server.answers[PATH] = [answer]
    with pytest.raises(SourceNotFound):
        http.fingerprint(server.address(PATH), WANTED, print)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("handle", "visible"),
    [
        ("https://h.org/m/1?token=secret#secret", "https://h.org/m/1"),
        ("HTTPS://me:secret@h.org:8080/m", "HTTPS://h.org:8080/m"),
        ("https://h.org?token=secret/a@b", "https://h.org"),
        ("http://[::1]:80/m?secret", "http://[::1]:80/m"),
        ("http://[broken/m?secret", "http://[broken/m"),
        ("https:/h.org/m?token=secret", "https:/h.org/m"),
        ("s3://bucket/m?secret", "s3://bucket/m"),
        ("gs://bucket/m?secret", "gs://bucket/m"),
        ("postgresql://me:secret@h/db?sslpassword=secret", "postgresql://h/db"),
        ("starter", "starter"),
        ("./models/what?.tar.gz", "./models/what?.tar.gz"),
        ("C:/models/m#1", "C:/models/m#1"),
    ],
)
def test_what_is_shown_of_a_handle(handle: str, visible: str) -> None:
    assert http.shown(handle) == visible


@pytest.mark.parametrize("handle", ["gs://bucket/2026-??#1.csv", "file:///data/2026-??.csv", "data/2026-??.csv"])
def test_patterns_are_shown_whole(handle: str) -> None:
    assert http.shown(handle, patterns=True) == handle
    assert http.shown("https://h.org/a?token=secret", patterns=True) == "https://h.org/a"


@pytest.mark.parametrize(
    "last",
    [
        status(404),
        status(503),
        body(b"Models", Content_Type="text/html"),
        body(b"<!doctype html>"),
        body(CONTENT[:9], length=len(CONTENT)),
        body(bytes(200_000)),
        status(302, Location="gopher://h.org/?secret"),
        status(302, Location="http://127.0.0.1:port/?secret"),
    ],
)
def test_no_query_reaches_a_message(last: Answer, server: HttpServer, tmp_path: Path) -> None:
    small = replace(WANTED, most_bytes=100_000)
    server.answers[PATH] = [status(302, Location=server.address("/bucket/file?signature=secret"))]
    server.answers["/bucket/file"] = [last]
    lines: list[str] = []
    with pytest.raises(HubtuneError) as caught:
        http.download(server.address(f"{PATH}?token=secret"), tmp_path / "file", small, lines.append)
    assert any(path.endswith("signature=secret") for path, _ in server.requests)
    assert "secret" not in "\n".join([*lines, str(caught.value)])
    assert server.address(PATH) in caught.value.where
