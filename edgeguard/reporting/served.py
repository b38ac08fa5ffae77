"""Pages that a server hands out: their files."""

from edgeguard.reporting.html import TEMPLATES, page


def page_files(name: str, title: str) -> dict[str, tuple[bytes, str]]:
    """Bytes and media type of each path of a page that asks its server again and again.

    Args:
        name: of NAME.html and NAME.js in `templates/`.
        title: of the window.
    """
    return {
        "/": (page(f"{name}.html", title=title).encode(), "text/html; charset=utf-8"),
        "/page.js": ((TEMPLATES / f"{name}.js").read_bytes(), "text/javascript; charset=utf-8"),
        "/page.css": ((TEMPLATES / "style.css").read_bytes(), "text/css; charset=utf-8"),
    }
