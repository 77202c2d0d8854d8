"""The pages of the site that live at the top of the repository, and links that MkDocs does not look at."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
log = logging.getLogger("mkdocs.hooks")


def on_pre_build(**_: Any) -> None:
    """Examples in C++ are compiled where ONNXRUNTIME_INCLUDE names the folder of ONNX Runtime's headers."""
    headers = os.environ.get("ONNXRUNTIME_INCLUDE")
    if headers is None:
        return
    page = ROOT / "docs" / "howto" / "cpp.md"
    for code in re.findall(r"```cpp\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        command = ["g++", "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", "-I", headers, "-xc++", "-"]
        done = subprocess.run(command, input=code, capture_output=True, text=True, check=False)
        if done.returncode:
            log.warning("%s: an example does not compile:\n%s", page.relative_to(ROOT), done.stderr)


def on_files(files: Files, config: Any) -> Files:
    for source, target in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, page in PAGES.items():
            text = text.replace(f"]({other})", f"]({page})")
        files.append(File.generated(config, target, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links that lead to these pages where the repository is browsed, too."""
    for source, target in PAGES.items():
        markdown = markdown.replace(f"](../{source})", f"]({target})")
    return markdown


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """A notebook links to ../page.md, as the repository has it; here that is ../../page/."""
    if page.file.src_path.endswith(".ipynb"):
        html = re.sub(r'href="\.\./([\w/-]+)\.md(#[^"]*)?"', r'href="../../\1/\2"', html)
    return html


def on_post_build(config: Any) -> None:
    """Every link within the site leads somewhere; a warning ends a strict build."""
    site = Path(config.site_dir)
    texts = {
        path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"
    }
    for path, text in texts.items():
        for link in sorted(set(re.findall(r'(?:href|src)="([^":]+)"', text))):
            file, _, anchor = link.partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (anchor and target in texts and f'id="{anchor}"' not in texts[target]):
                log.warning("%s has a link that leads nowhere: %s", path.relative_to(site), link)
