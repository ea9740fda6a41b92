"""The server's pages ask nobody but the server: browsers are told to refuse everything else.

Prefect's newer UI asks an analytics service how to collect analytics when it is opened, and has no setting against it.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from hubtune.errors import StackFailed

_HEAD = "<head>"
_RULE = re.compile(r'\s*<meta http-equiv="Content-Security-Policy"[^>]*>')


def keep_to_themselves(pages: Path, api: str) -> None:
    """Write into the page of each UI whom a browser may ask.

    Args:
        pages: where a running server keeps its UIs, each in a folder (PREFECT_SERVER_UI_STATIC_DIRECTORY).
        api: the address at which the pages ask for the API.

    Raises:
        StackFailed: the pages are not where or what they were in the Prefect that this was written for.
    """
    found = sorted(pages.glob("*/index.html"))
    if not found:
        raise _unknown(pages, "it holds no pages")
    address = urlsplit(api)
    host = address.netloc.rpartition("@")[2]
    # The API's address need not be that of the pages; and `localhost` is another one than 127.0.0.1.
    asked = f"{address.scheme}://{host} {address.scheme.replace('http', 'ws')}://{host}"
    own = "'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
    rule = f"default-src {own}; connect-src 'self' data: blob: {asked}"
    for page in found:
        text = _RULE.sub("", page.read_text(encoding="utf-8"))
        if _HEAD not in text:
            raise _unknown(page, f"it has no {_HEAD}")
        tag = f'{_HEAD}\n    <meta http-equiv="Content-Security-Policy" content="{rule}" />'
        page.write_text(text.replace(_HEAD, tag, 1), encoding="utf-8")


def _unknown(where: Path, what: str) -> StackFailed:
    return StackFailed(
        f"the server's pages could not be told to ask nobody else: {what}",
        where=str(where),
        remedy="run `make setup`, which installs the Prefect that hubtune knows; or set PREFECT_UI_ENABLED=false",
    )
