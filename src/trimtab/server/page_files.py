"""The page at `/`: static files of this package, with headers that let it load nothing from elsewhere."""

import mimetypes
from collections.abc import Callable
from importlib.resources import files

from fastapi import FastAPI, Response

PAGE_FOLDER = "/page/"
START = "index.html"
TREE_STYLE = "tree.css"
TYPES = {
    "svg": "image/svg+xml",
    "js": "text/javascript; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page_routes(app: FastAPI) -> None:
    """Serve the page. Each file has a route of its own, so that no request names a path."""
    for name, content in page_files().items():
        path = "/" if name == START else PAGE_FOLDER + name
        app.add_api_route(path, _sender(content, content_type(name)), include_in_schema=False, response_class=Response)


def page_files() -> dict[str, bytes]:
    """The files of the page, by name, with the style of a search's tree."""
    found = [*(files("trimtab.server") / "page").iterdir(), files("trimtab.rewind") / TREE_STYLE]
    return {each.name: each.read_bytes() for each in found if each.is_file()}


def content_type(name: str) -> str:
    """The content type of a file, which does not depend on the machine for the types that matter."""
    return TYPES.get(name.rpartition(".")[2]) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _sender(content: bytes, kind: str) -> Callable[[], Response]:
    def send() -> Response:
        return Response(content, media_type=kind, headers=HEADERS)

    return send
