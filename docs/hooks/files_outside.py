"""Links out of docs/: on the repository's page they lead to a file of the checkout; in the site, to a copy of it."""

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_LINK = re.compile(r"\[([^\]]*)\]\((\.\.?/[^)#]+)\)")


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Bring what a page links to into the site.

    Args:
        markdown: of the page.
        page: the page.
        config: of the site.
        files: of the site; what is linked to is added.

    Returns:
        The page, with links to the copies. Of a folder there is none: its path stands there without a link.
    """
    docs = Path(config.docs_dir)

    def brought(link: re.Match[str]) -> str:
        text, target = link.groups()
        source = docs.joinpath(page.file.src_uri).parent.joinpath(target).resolve()
        if source.is_relative_to(docs) or not source.is_relative_to(docs.parent):
            return link[0]
        if source.is_dir():
            return f"`{text}`"
        # Markdown would be made a page, and files without a suffix would be downloaded.
        suffix = ".txt" if source.suffix in (".md", "") else ""
        copy = f"checkout/{source.relative_to(docs.parent).as_posix()}{suffix}"
        if source.is_file() and files.get_file_from_path(copy) is None:
            files.append(File.generated(config, copy, abs_src_path=str(source)))
        return f"[{text}]({posixpath.relpath(copy, posixpath.dirname(page.file.src_uri))})"

    return _LINK.sub(brought, markdown)
