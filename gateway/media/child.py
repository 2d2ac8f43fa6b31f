"""The program of a media process: prepares one upload after the other, from one file descriptor to another.

It imports the core and, of the gateway, this folder alone. It gets no path, no prompt and no key.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import mmap
import socket
import sys
import wave

from asr.audio.prepare import PreparedAudio, prepare
from asr.audio.reader import Body
from asr.config import Limits
from asr.errors import AsrError, EngineFailure, Overloaded, TooLarge
from asr.request.options import RequestOptions
from gateway.media import confinement, protocol
from gateway.media.protocol import Orders, Task

log = logging.getLogger("gateway.media.child")


def main() -> None:
    orders = Orders(**json.loads(sys.argv[1]))
    confinement.stay_below(orders.parent)
    channel = socket.socket(fileno=orders.socket)
    _warm_up()
    gc.freeze()  # objects that live as long as the process are not scanned after every upload
    confinement.bound(orders.memory_bytes, orders.max_output_bytes)
    channel.send(protocol.READY)
    limits = Limits(max_audio_seconds=orders.max_audio_seconds, max_upload_bytes=orders.max_upload_bytes)
    while _serve_one(channel, orders.cpu_s, limits):
        gc.collect()  # an error's traceback and FFmpeg's reader form a circle that keeps the upload mapped


def _serve_one(channel: socket.socket, cpu_s: float, limits: Limits) -> bool:
    """Prepares one upload; False if the gateway is gone, or the process is unfit for another upload."""
    message, files, _, _ = socket.recv_fds(channel, protocol.MAX_MESSAGE_BYTES, 2)
    if not message:
        return False
    channel.send(protocol.TAKEN)
    confinement.bound_cpu(cpu_s)
    upload, output = files
    with open(upload, "rb") as source, open(output, "wb") as target:
        outcome, stays = _outcome(Task(**json.loads(message)), source, target, limits)
    channel.send(protocol.answer_of(outcome, stays=stays))
    return stays


def _outcome(
    task: Task, source: io.BufferedReader, target: io.BufferedWriter, limits: Limits
) -> tuple[PreparedAudio | AsrError, bool]:
    """One upload's outcome, and whether this process is fit for another upload."""
    try:
        prepared = prepare(_mapped(source), task.options, limits, task.n_mels)
        protocol.write_output(prepared, target)
        return prepared, True
    except AsrError as error:
        return error, True
    except MemoryError:
        return out_of_memory(), False
    except OSError:
        log.exception("a prepared upload cannot be stored")
        return Overloaded("the server has no room to store this upload; try again later"), False
    except Exception:
        log.exception("preparing an upload failed")
        return EngineFailure("this upload could not be prepared; the server log has the cause"), False


def out_of_memory() -> TooLarge:
    return TooLarge("decoding the upload takes more memory than this server gives one upload", param="file")


def _mapped(source: io.BufferedReader) -> Body:
    """The upload's bytes, read page by page as they are needed. An empty file cannot be mapped."""
    if not source.seek(0, io.SEEK_END):
        return b""
    return memoryview(mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ))


def _warm_up() -> None:
    """Loads the network and FFmpeg, so that a broken installation fails here and not on an upload."""
    silence = io.BytesIO()
    with wave.open(silence, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(32_000))
    for long_form in ("parallel", "sequential"):
        prepare(silence.getvalue(), RequestOptions(long_form=long_form), Limits())


if __name__ == "__main__":
    main()
