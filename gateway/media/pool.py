"""The gateway's media processes: a fixed number of them, one upload at a time in each."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from asr.audio.prepare import DEFAULT_N_MELS, PreparedAudio
from asr.config import Limits
from asr.errors import Overloaded
from asr.request.options import RequestOptions
from gateway.api_errors import NotReady
from gateway.media.media_process import MediaProcess, NotTaken, StartFailed
from gateway.media.upload_queue import UploadQueue, UploadTurn
from gateway.settings import MediaSettings

log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0


class MediaPool:
    """Uploads in, prepared audio out. A process that ends is replaced at once."""

    def __init__(self, settings: MediaSettings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._queue: UploadQueue[MediaProcess] = UploadQueue(settings.processes)
        self._ready: set[MediaProcess] = set()
        self._idle: list[MediaProcess] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._is_open = False
        self._counts = dict.fromkeys(("prepared", "refused", "started", "failed_starts"), 0)

    async def start(self) -> None:
        """Returns at once. Uploads wait until the first process is warm."""
        self._is_open = True
        self._keepers = [asyncio.create_task(self._keep_one()) for _ in range(self._settings.processes)]

    async def close(self) -> None:
        """Ends every process; uploads that wait or run fail."""
        self._is_open = False
        self._refuse_waiting(NotReady("the server is going down"))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def prepare(
        self, upload: Path, options: RequestOptions, n_mels: int = DEFAULT_N_MELS, *, is_job: bool = False
    ) -> PreparedAudio:
        """The upload as the sessions need it; its samples lie in sealed memory without a name.

        is_job: nobody waits for it, so every other upload goes first.
        Raises AsrError. If the caller is cancelled, the process is killed: nothing else stops a decoder.
        """
        size_bytes, arrived = upload.stat().st_size, time.monotonic()
        while True:
            if not self._is_open:
                raise NotReady("the server is going down")
            try:
                turn: UploadTurn[MediaProcess] = UploadTurn(
                    size_bytes, arrived, asyncio.get_running_loop().create_future(), is_job
                )
                prepared = await self._prepare_once(turn, upload, options, n_mels)
            except NotTaken:
                continue
            except Exception:
                self._counts["refused"] += 1
                raise
            self._counts["prepared"] += 1
            return prepared

    def stats(self) -> dict[str, int]:
        """Processes by what they do now, waiting uploads, and counts since the start."""
        return {
            "processes": self._settings.processes,
            "ready": len(self._ready),
            "busy": len(self._ready) - len(self._idle),
            "waiting": len(self._queue),
            **self._counts,
        }

    async def _prepare_once(
        self, turn: UploadTurn[MediaProcess], upload: Path, options: RequestOptions, n_mels: int
    ) -> PreparedAudio:
        self._queue.add(turn)
        self._assign()
        try:
            process = await turn.worker
            return await process.prepare(upload, options, n_mels)
        finally:
            self._queue.leave(turn)
            if turn.worker.done() and not turn.worker.cancelled() and turn.worker.exception() is None:
                self._give_back(turn.worker.result())
            self._assign()

    def _assign(self) -> None:
        """Gives idle processes to the next uploads."""
        while self._idle and (turn := self._queue.take()) is not None:
            if not turn.worker.done():  # cancelled, and about to leave the queue
                turn.worker.set_result(self._idle.pop())

    def _give_back(self, process: MediaProcess) -> None:
        if process.is_usable:
            self._idle.append(process)
        else:
            process.kill()  # its keeper replaces it

    async def _keep_one(self) -> None:
        """Keeps one process alive for ever: starts it, offers it, awaits its end, starts the next."""
        retry_s = FIRST_RETRY_S
        while True:
            process = MediaProcess(self._settings, self._limits)
            try:
                await process.start()
                self._counts["started"] += 1
                retry_s = FIRST_RETRY_S
                self._ready.add(process)
                self._idle.append(process)
                self._assign()
                await process.wait_for_end()
            except (StartFailed, OSError) as error:
                self._counts["failed_starts"] += 1
                log.error("a media process does not start, next try in %g s: %s", retry_s, error)
                if not self._ready:
                    self._refuse_waiting(Overloaded("the server cannot decode uploads now; try again later"))
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
            finally:
                self._ready.discard(process)
                if process in self._idle:
                    self._idle.remove(process)
                await process.close()

    def _refuse_waiting(self, error: Exception) -> None:
        for turn in self._queue.clear():
            if not turn.worker.done():
                turn.worker.set_exception(error)
