"""A gateway's place behind nginx: its HTTP server and its way to end, with answers that show who gave them.

python -m tests.deploy.standin_gateway NAME PORT
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse


def standin(name: str) -> FastAPI:
    """Routes by what they do; "a" is the one that fails."""
    app = FastAPI()
    seen: Counter[str] = Counter()
    released = asyncio.Event()
    fails = name == "a"

    @app.get("/health/live")
    def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/seen")
    def what_was_seen() -> dict[str, int]:
        return seen

    @app.post("/transcribe/{behaviour}")
    async def transcribe(behaviour: str, request: Request) -> Any:
        seen[behaviour] += 1
        body = await request.body()
        if behaviour == "die" and fails:
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "slow":
            await asyncio.sleep(0.1)
        status = {"not_ready": 503 if fails else 200, "broken": 500, "full": 429}.get(behaviour, 200)
        forwarded = request.headers.get("x-forwarded-for")
        return JSONResponse({"by": name, "bytes": len(body), "from": forwarded}, status)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(two_events(), media_type="text/event-stream")

    async def two_events() -> AsyncIterator[str]:
        yield f"data: {name}\n\n"
        await released.wait()
        yield "data: [DONE]\n\n"

    @app.websocket("/v1/realtime")
    async def realtime(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="realtime" if websocket.scope["subprotocols"] else None)
        await websocket.send_json({"by": name, "from": websocket.headers.get("x-forwarded-for")})
        while True:
            await websocket.send_text(await websocket.receive_text())

    @app.post("/release")
    def release() -> None:
        released.set()

    return app


if __name__ == "__main__":
    name, port = sys.argv[1:]
    uvicorn.run(standin(name), host="127.0.0.1", port=int(port), log_level="warning", ws_max_size=2**25)
