"""Well-formed requests in every format, and the judgement of their texts by word error rate."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from load_kit.load import Clip, judge
from load_kit.load_command import FormSender
from load_kit.mix import Mix
from whisper_client.client import Reply, WhisperClient, reply_of_events
from whisper_client.errors import BadArgument, BrokenStream, ServerRefused
from whisper_client.scoring import normalised, score

FORMATS = ("json", "json", "verbose_json", "text")  # of the requests that are not streamed
STREAMED_SHARE = 0.2
STREAM_TRIES = 4  # a broken stream is begun again here: the library cannot take back the events it gave
SHOWN_CHARS = 120


class Traffic:
    """Sends clips in a format by chance; `texts` holds what each should say."""

    def __init__(self, client: WhisperClient, options: Mapping[str, Any], max_wer: float) -> None:
        self._client, self._options, self._max_wer = client, dict(options), max_wer
        self._senders = {name: FormSender(client, {**options, "response_format": name}) for name in FORMATS}
        self.texts: dict[Path, str] = {}  # what each clip should say

    def learn(self, mix: Mix, expected: Mapping[str, str]) -> None:
        """Takes the references from `expected` (by file stem), else from an answer; raises BadArgument."""
        for clip in mix.clips:
            reply = self._senders["json"](clip).raise_for_status()
            self.texts[clip.path] = expected.get(clip.path.stem, reply.text)
            failure, message = self.judge(clip, reply)
            if failure:
                raise BadArgument(
                    f"{clip.path}: {failure} before any chaos, {message}; raise --max-wer or leave it out"
                )

    def send(self, clip: Clip) -> Reply:
        if random.random() < STREAMED_SHARE:
            return self._stream(clip)
        return self._senders[random.choice(FORMATS)](clip)

    def judge(self, clip: Clip, reply: Reply) -> tuple[str | None, str]:
        """The kind of failure of an answer, None if it is good, and a message. The text counts too."""
        failure, message = judge(reply)
        if failure:
            return failure, message
        wanted = self.texts[clip.path]
        rate = score(wanted, reply.text, normalised).words.rate
        if rate <= self._max_wer:
            return None, ""
        return "wrong text", f"word error rate {rate:.2f}: {_shown(reply.text)} for {_shown(wanted)}"

    def _stream(self, clip: Clip) -> Reply:
        causes: list[str] = []
        while True:
            try:
                return reply_of_events(self._client.stream(clip.path, **self._options), tuple(causes))
            except (BrokenStream, ServerRefused) as error:
                broken = isinstance(error, BrokenStream) or error.status == 200
                if not broken or len(causes) + 1 >= STREAM_TRIES:
                    raise
                causes.append("broken stream")
                time.sleep(1)


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN_CHARS else line[:SHOWN_CHARS] + "…")
