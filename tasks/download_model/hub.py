"""What is asked of a model's http(s) address, such as a TF Hub handle."""

from urllib.parse import urlsplit, urlunsplit

from tasks.download_model.archive import MOST_BYTES
from tasks.http import Wanted

MODEL = Wanted(
    called="a model",
    most_bytes=MOST_BYTES,
    otherwise="a model that needs a login must be downloaded by hand and given as a file",
    page_remedy="give the address of the model itself, which ends in its version number or in .tar.gz",
)

_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")


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
