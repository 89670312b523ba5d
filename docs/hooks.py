"""What MkDocs does besides its pages: it takes README, CHANGELOG and CONTRIBUTING from the root of the project."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
#: Where a link to a file that is no page of the site leads.
_FILES = "https://github.com/FetusMapV2/FetusMapV2/blob/main/"
#: A line that is nothing but the link to a script.
_SCRIPT = re.compile(r"^\[(examples/\w+\.py)\]\(\.\./\1\)$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose sources lie beside docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=with_links_from_docs(text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of a page of docs/ to those pages lead to where the site has them; a linked example is shown."""
    for source, target in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({target}")
    return _SCRIPT.sub(lambda match: f"```python\n{(ROOT / match[1]).read_text(encoding='utf-8')}```", markdown)


def with_links_from_docs(text: str) -> str:
    """Markdown of the project's root with its links as they are in docs/."""
    return re.sub(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s#]+)", _link, text)


def _link(match: re.Match[str]) -> str:
    target = match[1]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return PAGES.get(target, _FILES + target)
