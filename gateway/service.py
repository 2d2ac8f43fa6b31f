"""The parts of the gateway, and how they work together on one request."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from asr.audio.mel import log_mel_max
from asr.audio.prepare import PreparedAudio
from asr.config import Limits
from asr.engine import ModelSpec
from asr.errors import InvalidOption
from asr.request.families import suits
from asr.request.options import RequestOptions
from asr.sessions import FileSession, open_detection, open_session
from gateway.access.admission import Admission
from gateway.access.client_secrets import ClientSecrets
from gateway.access.keys import KeyStore
from gateway.access.limits import Limiter
from gateway.access.stream_places import StreamPlaces
from gateway.api_errors import ModelNotFound
from gateway.caller import Caller
from gateway.dispatch.fleet import Fleet
from gateway.dispatch.lane import Use
from gateway.dispatch.served_model import NotLoaded, ServedModel
from gateway.drain import Drain
from gateway.media.pool import MediaPool
from gateway.media.sizes import LARGE_BYTES, SMALL_BYTES
from gateway.observe.metrics import Metrics
from gateway.observe.record import RequestRecord, current_record
from gateway.observe.stats import StatsCollector
from gateway.observe.tracing import telemetry, tracer_of
from gateway.patience import within
from gateway.run import Run
from gateway.settings import Settings

SHORT_S = 30.0  # one window of audio
RECEIVING_S = 0.25  # a good network brings a form in this time; nothing waits longer for a slow sender

OpenSession = Callable[[PreparedAudio, RequestOptions, ModelSpec], FileSession]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a caller asks of one model."""

    model: ServedModel
    options: RequestOptions
    by_language: bool = False  # the language is to be detected, and with it the model


class Service:
    """Everything that the routes use; one per process."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where the exporter of traces is not installed."""
        self.settings = settings
        self.started_at = int(time.time())
        self.limits = Limits(
            max_audio_seconds=settings.media.max_audio_s, max_upload_bytes=settings.media.max_upload_bytes
        )
        self.keys = KeyStore(settings.access)
        self.limiter = Limiter(settings.access)
        self.admission = Admission(settings.admission)
        self.client_secrets = ClientSecrets()
        self.stream_places = StreamPlaces(settings.realtime)
        self.pool = MediaPool(settings.media, self.limits)
        self.fleet = Fleet(settings.upstream)
        self.drain = Drain()
        self.metrics = Metrics()
        self.telemetry = telemetry(settings.observe)
        self.tracer = tracer_of(self.telemetry)
        self.metrics.registry.register(StatsCollector(self))

    async def start(self) -> None:
        await self.pool.start()
        await self.fleet.start()

    async def close(self) -> None:
        await self.fleet.close()
        await self.pool.close()

    def models(self, caller: Caller) -> dict[str, ServedModel]:
        """The models that this caller may use, by name, the default one first; raises NotReady."""
        models = self.fleet.models
        return {name: models[name] for name in models if not caller.models or name in caller.models}

    def model(self, name: str | None, caller: Caller) -> ServedModel:
        """The model of this name, or the caller's default if None; raises NotReady, or ModelNotFound in
        OpenAI's words."""
        return self._answering(self.named(name, caller), caller)

    def named(self, name: str | None, caller: Caller) -> ServedModel:
        """The same, whether it can answer now or not."""
        models = self.models(caller)
        if name is None:
            name = next(iter(models), "")
        if name not in models:
            raise ModelNotFound(
                f"The model `{name[:100]}` does not exist or you do not have access to it.", param="model"
            )
        return models[name]

    def speaking(self, language: str, caller: Caller) -> ServedModel | None:
        """The model that takes requests in this language from the default one, if this caller may use it."""
        model = self.fleet.speaks(language)
        if model is None or model not in self.models(caller).values():
            return None
        return self._answering(model, caller)

    def on_demand(self, name: str, caller: Caller) -> ServedModel:
        """The model of this name if it may be loaded and unloaded; raises NotReady, ModelNotFound or
        InvalidOption."""
        model = self.named(name, caller)
        if model.settings.load != "on_demand":
            raise InvalidOption(f"{name} is there from the start on, must be a model with `load: on_demand`")
        return model

    def _answering(self, model: ServedModel, caller: Caller) -> ServedModel:
        """The model, or its fallback if the caller may use it; raises NotLoaded or NotReady before it ever
        answered."""
        one = self.fleet.answering(model)
        if one is not model and one not in self.models(caller).values():
            one = model
        self.fleet.check_known(one)
        return one

    async def after_loading(self, read: Callable[[], T]) -> T:
        """The result of `read`, once the model that it chooses has been loaded; raises NotReady."""
        while True:
            try:
                return read()
            except NotLoaded as error:
                await self.fleet.load(error.model)

    def coming_upload(
        self, num_bytes: int | None, max_wait_s: float | None = None
    ) -> AbstractContextManager[None]:
        """While the block receives or prepares an upload, the next batch may wait for its first window.

        num_bytes: None if unknown. No batch waits for a large upload, which takes too long.
        """
        if num_bytes is None or num_bytes > LARGE_BYTES:
            return nullcontext()
        return self.fleet.coming_uploads.one(max_wait_s)

    @asynccontextmanager
    async def run(
        self,
        upload: Path,
        request: ModelRequest,
        caller: Caller,
        deadline_s: float,
        opening: OpenSession = open_session,
    ) -> AsyncIterator[Run]:
        """The upload's session at work. Leaving the block drops the windows that have not been decoded."""
        async with within(deadline_s):
            record = current_record()
            with record.stage("media"), self.coming_upload(upload.stat().st_size):
                prepared = await self.pool.prepare(upload, request.options, request.model.spec.n_mels)
                await _empty(upload)
            audio_s = prepared.audio.duration_s
            record.audio_s = (record.audio_s or 0.0) + audio_s
            with self.admission.admit(audio_s):
                await self.limiter.check_audio(caller, audio_s)
                async with self._decoding(prepared, request, caller, opening) as run:
                    yield run

    async def prepare_job(self, audio: Path, request: ModelRequest) -> PreparedAudio:
        """A job's file as its session needs it, after every upload; the file stays."""
        record = current_record()
        with record.stage("media"):
            prepared = await self.pool.prepare(audio, request.options, request.model.spec.n_mels, is_job=True)
        record.audio_s = prepared.audio.duration_s
        return prepared

    @asynccontextmanager
    async def run_job(
        self, prepared: PreparedAudio, request: ModelRequest, caller: Caller
    ) -> AsyncIterator[Run]:
        """A job's session at work, behind every request; it takes no request's place."""
        async with self._decoding(prepared, request, caller, use="job") as run:
            yield run

    @asynccontextmanager
    async def _decoding(
        self,
        prepared: PreparedAudio,
        request: ModelRequest,
        caller: Caller,
        opening: OpenSession = open_session,
        use: Use = "file",
    ) -> AsyncIterator[Run]:
        record = current_record()
        audio_s = prepared.audio.duration_s
        model, options = request.model, request.options
        if request.by_language and opening is open_session:
            prepared, model, options = await self._by_language(prepared, request, caller, use)
        record.model = model.name
        session = await off_loop(audio_s, opening, prepared, options, model.spec)
        async with self.fleet.using(model):
            with model.dispatcher.ticket(caller, audio_s, use) as ticket:
                run = Run(prepared, session, ticket, model.name)
                try:
                    with record.stage("decode"):
                        yield run
                finally:
                    await run.stop()
                _note(record, run)

    async def _by_language(
        self, prepared: PreparedAudio, request: ModelRequest, caller: Caller, use: Use
    ) -> tuple[PreparedAudio, ServedModel, RequestOptions]:
        """The same request for the model of the language that the default model detects in the audio."""
        options = request.options
        if prepared.speech_probs is None:  # none was looked for in sequential mode
            options = replace(options, vad_filter=False)
        audio_s = prepared.audio.duration_s
        session = await off_loop(audio_s, open_detection, prepared, options, request.model.spec)
        with request.model.dispatcher.ticket(caller, audio_s, use) as ticket:
            run = Run(prepared, session, ticket, request.model.name)
            try:
                await run.finish()
            finally:
                await run.stop()
        model = await self.after_loading(lambda: self.speaking(session.language, caller))
        if model is None:
            return prepared, request.model, request.options
        if prepared.log_mel_max is not None and model.spec.n_mels != request.model.spec.n_mels:
            loudest = await off_loop(audio_s, log_mel_max, prepared.audio.samples, model.spec.n_mels)
            prepared = replace(prepared, log_mel_max=loudest)
        decoding = replace(request.options.decoding, language=session.language, languages=())
        found = replace(request.options, decoding=decoding)
        if suits(found, model.spec):
            return prepared, model, found
        return prepared, request.model, request.options  # nobody has asked for the other one


async def off_loop(audio_s: float, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work` on `audio_s` seconds: in a thread, unless the hop takes longer than the work."""
    if audio_s <= SHORT_S:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


async def _empty(upload: Path) -> None:
    """Frees the upload's disk space, since its samples are in memory now."""
    if upload.stat().st_size <= SMALL_BYTES:
        os.truncate(upload, 0)
    else:
        await asyncio.to_thread(os.truncate, upload, 0)


def _note(record: RequestRecord, run: Run) -> None:
    """Writes a successful run into the request's record."""
    if run.session.done and run.session.error is None:
        record.count(run.transcript)
        record.text = run.transcript.text
