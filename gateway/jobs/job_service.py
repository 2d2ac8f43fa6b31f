"""The parts of the jobs, and what goes on in the background while the gateway runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa
from pydantic import SecretStr

from asr.errors import InvalidOption, Overloaded
from gateway.job_rows import now
from gateway.jobs.batches.book import Batches
from gateway.jobs.database import create_tables, open_engine
from gateway.jobs.engine.batch_driver import Driver
from gateway.jobs.engine.durable import Durable
from gateway.jobs.engine.finishing import Finishing
from gateway.jobs.engine.identity import BEAT_S, Identity
from gateway.jobs.engine.line import LineRunner
from gateway.jobs.engine.stops import Stops
from gateway.jobs.engine.sweeper import SWEEP_S, Sweeper
from gateway.jobs.engine.validation import Validation
from gateway.jobs.files.catalogue import UNFINISHED, Files
from gateway.jobs.files.contents import Contents
from gateway.jobs.files.folder import FolderContents
from gateway.jobs.files.uploads import Uploads
from gateway.jobs.tables import BATCHES, FILES
from gateway.observe.logs import log_event
from gateway.outbound.audio_fetch import AudioFetch
from gateway.outbound.client import OutboundClient
from gateway.service import Service
from gateway.settings import SettingsError
from gateway.webhooks.tables import METADATA as WEBHOOK_TABLES
from gateway.webhooks.webhooks import Webhooks

log = logging.getLogger(__name__)

COUNT_S = 10.0  # between two counts for the metrics
LAST_WRITES_S = 5.0  # at the end of the process, for what is still to be written
SIGNING_KEY = "webhook.key"  # in the directory, unless `webhooks.key_file` names another
USER_AGENT = "whisper-gateway/1.0"
LOOK_S = 1.0  # between two looks for batches that expired, or that another gateway cancelled


class Jobs:
    """Everything that the routes of files and batches use; one per process."""

    def __init__(self, service: Service) -> None:
        """Raises SettingsError if the directory or the database cannot be used."""
        settings = service.settings.jobs
        assert settings.directory is not None
        self.service = service
        self._contents = _contents(settings.content, settings.directory)
        self.engine = _opened(settings.directory, self._contents, settings.database)
        self._identity = Identity(self.engine, settings.directory)
        outgoing = service.settings.outbound
        self._outbound = OutboundClient(outgoing, USER_AGENT, service.limits.max_upload_bytes)
        self.webhooks = self._opened_webhooks(settings.directory)
        self._outbox = self.webhooks.outbox if self.webhooks else None
        self._runner = LineRunner(service, self._contents, AudioFetch(self._outbound))
        self.files = Files(self.engine, self._contents, settings)
        self.uploads = Uploads(self.engine, self._contents, self.files, settings)
        self._background: list[asyncio.Task[None]] = []
        self._exits = ExitStack()
        self._is_started = False

    @property
    def incoming(self) -> Path:
        """Where bodies are received."""
        return self._contents.incoming

    async def check_webhook_url(self, url: str) -> None:
        """Raises InvalidOption if the gateway may not send the event of a batch to this URL."""
        if self.webhooks is None:
            raise InvalidOption("webhook_url: webhooks are off (webhooks.enabled)", param="webhook_url")
        await self.webhooks.check_url(url, "webhook_url")

    async def start(self) -> None:
        """Goes on with the batches that are not finished."""
        settings = self.service.settings.jobs
        self.stops = Stops()
        steps = (
            Validation(self.engine, self._contents, self._outbox, settings.max_lines),
            Finishing(self.engine, self._contents, self._outbox, settings.retention_s),
        )
        self.driver = Driver(self.service, self.engine, self._contents, self._runner, steps, self.stops)
        self._durable = Durable(self.engine, self._identity.id, self.driver.run)
        self.batches = Batches(self.engine, settings, self._durable.submit, self.stops.stop)
        self._sweeper = Sweeper(self.engine, self._contents, self._durable, settings)
        self._exits.enter_context(self.service.drain.when_begun(self.stops.begin_drain))
        if self.webhooks is not None:
            await self.webhooks.start()
        await self._durable.start()
        await asyncio.to_thread(self._sweeper.submit_lost)
        self._every(LOOK_S, self._stop_due)
        self._every(COUNT_S, self._count)
        self._every(SWEEP_S, self._sweeper.sweep)
        if self._identity.is_shared:
            self._every(BEAT_S, self._beat)
        self._is_started = True
        log_event(log, "jobs", name=self._identity.id, directory=str(settings.directory))

    async def close(self) -> None:
        """Leaves what is not finished to the next start."""
        if not self._is_started:  # the process is about to end with the reason
            return
        self._exits.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        try:
            async with asyncio.timeout(LAST_WRITES_S):
                await self.stops.drain()
                await self.driver.ledger.close()
        except TimeoutError:
            log.error("the disk or the database takes nothing: lines at work begin again at the next start")
        await self._durable.close()
        if self.webhooks is not None:
            await self.webhooks.close()
        self._outbound.close()
        self._identity.close()
        self.engine.dispose()

    def _opened_webhooks(self, directory: Path) -> Webhooks | None:
        settings = self.service.settings.webhooks
        if not settings.enabled:
            return None
        create_tables(self.engine, WEBHOOK_TABLES)
        metrics = self.service.metrics.webhooks
        return Webhooks(self.engine, self._outbound, settings, directory / SIGNING_KEY, metrics)

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        """Has `work` done in a thread again and again; it may fail."""

        async def repeat() -> None:
            while True:
                try:
                    await asyncio.to_thread(work)
                except Exception:
                    log.exception("looking after the jobs")
                await asyncio.sleep(seconds)

        self._background.append(asyncio.create_task(repeat()))

    def _stop_due(self) -> None:
        due = (BATCHES.c.status == "cancelling") | (BATCHES.c.expires_at <= now())
        if not (ids := self.stops.batch_ids):
            return
        with self.engine.connect() as connection:
            wanted = sa.select(BATCHES.c.id).where(BATCHES.c.id.in_(ids), due)
            for batch_id in connection.execute(wanted).scalars():
                self.stops.stop(batch_id)

    def _count(self) -> None:
        metrics = self.service.metrics.jobs
        by_status = sa.select(BATCHES.c.status, sa.func.count()).where(BATCHES.c.status.in_(UNFINISHED))
        with self.engine.connect() as connection:
            counts = {
                status: count for status, count in connection.execute(by_status.group_by(BATCHES.c.status))
            }
            stored = connection.execute(
                sa.select(sa.func.coalesce(sa.func.sum(FILES.c.bytes), 0))
            ).scalar_one()
        for status in UNFINISHED:
            metrics.batches.labels(status).set(counts.get(status, 0))
        metrics.stored_bytes.set(stored)

    def _beat(self) -> None:
        self._identity.beat()
        if dead := self._identity.dead():
            log.warning("%s said nothing for a while; their batches go on here", ", ".join(dead))
            self._durable.recover(dead)
            self._identity.forget(dead)


def _contents(place: str | None, directory: Path) -> Contents:
    """Files lie in the directory, another folder, or a bucket."""
    if place is None or "://" not in place:
        return FolderContents(directory if place is None else Path(place))
    from gateway.jobs.files.bucket import BucketContents  # and with it fsspec

    return BucketContents(place, directory / "incoming")


def _opened(directory: Path, contents: Contents, database: SecretStr | None) -> sa.Engine:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        contents.make()
        file = f"sqlite:///{directory.resolve() / 'jobs.sqlite'}"
        engine = open_engine(file if database is None else database.get_secret_value())
        create_tables(engine)
    except (OSError, Overloaded, sa.exc.SQLAlchemyError) as error:
        raise SettingsError(
            f"jobs.directory, jobs.content or jobs.database cannot be used: {error}"
        ) from error
    return engine
