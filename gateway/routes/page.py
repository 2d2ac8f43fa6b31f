"""The web pages at `/`, `/live` and `/jobs` with their files. No other server is read or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from asr.languages import LANGUAGES
from gateway.api_errors import NotReady
from gateway.http.authentication import service_of
from gateway.service import Service

PAGE_DIR = Path(__file__).resolve().parents[1] / "page"
SCRIPT = "text/javascript; charset=utf-8"  # some systems' tables have an older type for .js

# wavesurfer writes one style sheet into its shadow root; the hash names exactly that one
WAVESURFER_STYLE = "sha256-7Wn/5ghbhb9U5yM332FZpa4jDUilNGJdZ87eJ6XZFBA="
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        f"style-src 'self' '{WAVESURFER_STYLE}'",
        "media-src 'self' blob:",
        "connect-src 'self' blob:",  # 'self' has ws: and wss: of this host (CSP 3)
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
REVALIDATE = "no-cache"  # cached, but checked each time: a new release shows at once
FOR_EVER = "public, max-age=31536000, immutable"  # the folder's name has the version

router = APIRouter(include_in_schema=False)
files = StaticFiles(directory=PAGE_DIR)


@router.get("/")
async def index(request: Request) -> Response:
    """Recordings."""
    return await _page("index.html", request)


@router.get("/live")
async def live(request: Request) -> Response:
    """Captions of what is being said."""
    return await _page("live.html", request)


@router.get("/jobs")
async def jobs(request: Request) -> Response:
    """Batches of recordings; raises NotFound where there are none."""
    if request.app.state.jobs is None:
        raise HTTPException(404)
    return await _page("jobs.html", request)


@router.get("/page/settings.json")
async def settings(request: Request) -> dict[str, Any]:
    """What the page needs before it has a key: languages, limits, and whether there are jobs."""
    service = service_of(request)
    return {
        "languages": languages(service),
        "max_upload_bytes": service.settings.media.max_upload_bytes,
        "max_audio_s": service.settings.media.max_audio_s,
        "jobs": request.app.state.jobs is not None,
    }


@router.get("/page/{path:path}")
async def asset(path: str, request: Request) -> Response:
    return await _file(path, request)


def languages(service: Service) -> list[dict[str, str]]:
    """Code and English name of the model's languages; of all of Whisper's until a worker has described it."""
    try:
        codes = service.fleet.default.spec.language_codes
    except NotReady:
        codes = tuple(LANGUAGES)
    return [{"code": code, "name": LANGUAGES[code]} for code in codes]


async def _page(name: str, request: Request) -> Response:
    response = await _file(name, request)
    response.headers.update(HEADERS)
    return response


async def _file(path: str, request: Request) -> Response:
    """A file of the page, or 304 if the browser's copy is current."""
    response = await files.get_response(path, request.scope)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = FOR_EVER if path.startswith("vendor/") else REVALIDATE
    if path.endswith(".js") and "content-type" in response.headers:
        response.headers["content-type"] = SCRIPT
    return response
