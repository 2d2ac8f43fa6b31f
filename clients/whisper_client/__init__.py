"""A small client of the Whisper service: `WhisperClient(url, token).transcribe(path, language="en")`."""

from whisper_client.client import DEFAULT_URL, Reply, WhisperClient, openai_url
from whisper_client.errors import (
    BadArgument,
    BrokenStream,
    ClientError,
    NoServer,
    ServerRefused,
    ServerTimeout,
    ServerUnreachable,
)
from whisper_client.events import ServerEvent

__all__ = [
    "DEFAULT_URL",
    "BadArgument",
    "BrokenStream",
    "ClientError",
    "NoServer",
    "Reply",
    "ServerEvent",
    "ServerRefused",
    "ServerTimeout",
    "ServerUnreachable",
    "WhisperClient",
    "openai_url",
]
