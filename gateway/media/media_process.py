"""One media process, as the gateway starts it, feeds it and kills it.

Each upload and its output travel as open file descriptors: the process opens no path, and no file with a name
is left behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import IO

import asr
import gateway
from asr.audio.prepare import PreparedAudio
from asr.config import Limits
from asr.errors import AsrError, Overloaded, TooLarge, UnsupportedMedia
from asr.request.options import RequestOptions
from gateway.media.output import StillWritten, new_output, seal
from gateway.media.protocol import MAX_MESSAGE_BYTES, READY, TAKEN, Garbled, Orders, Task, read_answer
from gateway.settings import MediaSettings

START_TIMEOUT_S = 120.0  # on a busy machine; a second on an idle one
INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")  # no GATEWAY_… variable: they hold keys


class StartFailed(Exception):
    """The process did not get ready."""


class NotTaken(Exception):
    """The process ended before it read the upload, which is not to blame and may be tried again."""


class MediaProcess:
    """A process that prepares one upload at a time."""

    def __init__(self, settings: MediaSettings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._socket: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._receiving = asyncio.Lock()  # the socket must not be closed while the loop reads from it
        self.is_usable = False

    async def start(self) -> None:
        """Returns when the process is warm; raises StartFailed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        ours.setblocking(False)
        with theirs:
            orders = Orders(
                socket=theirs.fileno(),
                parent=os.getpid(),
                memory_bytes=self._settings.memory_mb << 20,
                cpu_s=self._settings.cpu_s,
                max_audio_seconds=self._limits.max_audio_seconds,
                max_upload_bytes=self._limits.max_upload_bytes,
            )
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-X", "faulthandler", "-m", "gateway.media.child", orders.to_json()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the gateway's terminal does not reach it
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                if await self._receive() != READY:
                    raise StartFailed(f"it ended with {await self._process.wait()}; its reason is in the log")
        except TimeoutError as error:
            raise StartFailed(f"it is not ready after {START_TIMEOUT_S:g} s") from error
        self.is_usable = True

    async def prepare(self, upload: Path, options: RequestOptions, n_mels: int) -> PreparedAudio:
        """The prepared audio; raises AsrError, whatever the upload does to the process, and NotTaken.

        The process is unusable while a request is in flight; if the caller is cancelled, the pool kills it.
        """
        with open(upload, "rb") as source, new_output(self._settings.spool_dir) as output:
            self.is_usable = False
            message = await self._ask(Task(options.long_form, options.vad_filter, n_mels), source, output)
            if not message:
                raise await self._cause_of_death()
            try:
                seal(output)
                outcome, self.is_usable = read_answer(message, output)
            except (Garbled, StillWritten) as error:
                raise crashed() from error
        if isinstance(outcome, AsrError):
            raise outcome
        return outcome

    async def wait_for_end(self) -> None:
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        self.is_usable = False
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def close(self) -> None:
        """Kills the process and waits for its end."""
        self.kill()
        await self.wait_for_end()
        if self._socket is not None:
            async with self._receiving:
                self._socket.close()

    async def _ask(self, task: Task, source: IO[bytes], output: IO[bytes]) -> bytes:
        """The answer; empty if the process ended without one."""
        assert self._socket is not None
        try:
            socket.send_fds(self._socket, [task.to_message()], [source.fileno(), output.fileno()])
        except OSError as error:
            raise NotTaken from error
        if await self._receive() != TAKEN:
            raise NotTaken
        return await self._receive()

    async def _receive(self) -> bytes:
        """One message; empty if the process has ended."""
        assert self._socket is not None
        async with self._receiving:
            try:
                return await asyncio.get_running_loop().sock_recv(self._socket, MAX_MESSAGE_BYTES)
            except ConnectionError:
                return b""

    async def _cause_of_death(self) -> AsrError:
        assert self._process is not None
        code = await self._process.wait()
        if code == -signal.SIGXCPU:
            return TooLarge(
                f"decoding the upload takes more than {self._settings.cpu_s:g} s of processor time, "
                "which is what this server gives one upload",
                param="file",
            )
        if code == -signal.SIGKILL:  # by hand or by the kernel, maybe not for this upload's fault
            return Overloaded("the process that decoded the upload was killed; try again later")
        return crashed()


def crashed() -> UnsupportedMedia:
    return UnsupportedMedia(
        "the upload makes its decoder crash: it is damaged or of a kind this server cannot decode",
        param="file",
    )


def _environment() -> dict[str, str]:
    roots = {str(Path(module.__file__ or "").resolve().parents[1]) for module in (asr, gateway)}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, **one_thread, "PYTHONPATH": os.pathsep.join(sorted(roots))}
