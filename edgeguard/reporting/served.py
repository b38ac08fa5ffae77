"""Pages that a server hands out: their files, and the headers that keep everything else away from them."""

from collections.abc import Mapping

from edgeguard.reporting.html import TEMPLATES, page

#: A browser loads nothing and runs nothing but the server's own files, keeps nothing, and says nothing to others.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


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
