"""The gateway's media processes: so many are always there, each upload gets one for itself."""

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
from gateway.media.turns import Line, Turn
from gateway.settings import MediaSettings

log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0


class MediaPool:
    """Uploads in, prepared audio out. A process that dies or is killed is replaced at once."""

    def __init__(self, settings: MediaSettings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._line: Line[MediaProcess] = Line(settings.processes)
        self._ready: set[MediaProcess] = set()
        self._idle: list[MediaProcess] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._is_open = False
        self._counts = dict.fromkeys(("prepared", "refused", "started", "failed_starts"), 0)

    async def start(self) -> None:
        """Returns at once; uploads wait until the first process is warm."""
        self._is_open = True
        self._keepers = [asyncio.create_task(self._keep_one()) for _ in range(self._settings.processes)]

    async def close(self) -> None:
        """Ends every process; what waits or runs fails."""
        self._is_open = False
        self._refuse_waiting(NotReady("the server is going down"))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def prepare(
        self, upload: Path, options: RequestOptions, n_mels: int = DEFAULT_N_MELS
    ) -> PreparedAudio:
        """The upload prepared; its samples lie in sealed memory without a name. Raises AsrError.

        A caller that is cancelled takes the process down with it: there is no other way to stop a decoder.
        """
        arrived = time.monotonic()
        while True:
            if not self._is_open:
                raise NotReady("the server is going down")
            try:
                prepared = await self._prepare_once(upload, options, n_mels, arrived)
            except NotTaken:
                continue
            except Exception:
                self._counts["refused"] += 1
                raise
            self._counts["prepared"] += 1
            return prepared

    def stats(self) -> dict[str, int]:
        """How many processes there are and what they do; how many uploads wait; what was done so far."""
        return {
            "processes": self._settings.processes,
            "ready": len(self._ready),
            "busy": len(self._ready) - len(self._idle),
            "waiting": len(self._line),
            **self._counts,
        }

    async def _prepare_once(
        self, upload: Path, options: RequestOptions, n_mels: int, arrived: float
    ) -> PreparedAudio:
        turn: Turn[MediaProcess] = Turn(
            upload.stat().st_size, arrived, asyncio.get_running_loop().create_future()
        )
        self._line.add(turn)
        self._assign()
        try:
            process = await turn.place
            return await process.prepare(upload, options, n_mels)
        finally:
            self._line.leave(turn)
            if turn.place.done() and not turn.place.cancelled() and turn.place.exception() is None:
                self._give_back(turn.place.result())
            self._assign()

    def _assign(self) -> None:
        """Gives idle processes to those whose turn it is."""
        while self._idle and (turn := self._line.take()) is not None:
            if not turn.place.done():  # cancelled, and about to leave
                turn.place.set_result(self._idle.pop())

    def _give_back(self, process: MediaProcess) -> None:
        if process.is_usable:
            self._idle.append(process)
        else:
            process.kill()  # its keeper sees it

    async def _keep_one(self) -> None:
        """One process at all times: started, offered, watched, replaced."""
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
                await process.ended()
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
        for turn in self._line.clear():
            if not turn.place.done():
                turn.place.set_exception(error)
