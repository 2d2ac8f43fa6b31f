"""dbos: which batches are at work, in which process, and that another one goes on with them after its end.

A batch is one workflow. Its lines are not: a workflow costs 28 kB and 10 ms, a line one row, where it is
counted too how often the process ended at it. So a workflow needs no steps, and may begin again at any time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig
from dbos._serialization import DBOSPortableJSON  # JSON; the default is pickle, which runs what it reads

APPLICATION = "whisper-gateway"
VERSION = "1"  # of a hash of the source, which is the default, an upgrade would strand every batch
WORKFLOW = "run_batch"  # a workflow with other arguments needs another name
QUEUE = "batches"
POLL_S = 0.5  # idle, two looks a second cost a hundredth of a core
MAX_BATCHES = 256  # at work in one process, of which each holds a thread
MAX_BATCHES_PER_KEY = 32
FORGET_S = 3_600  # after the end of a batch

RunBatch = Callable[[str], Awaitable[None]]


class Durable:
    """The workflows. One per process, as dbos has it."""

    def __init__(self, engine: sa.Engine, executor_id: str, run_batch: RunBatch) -> None:
        """executor_id: unique among the processes that live, and the same after a restart."""
        self._engine = engine
        self._executor_id = executor_id
        self._run_batch = run_batch
        self._client: DBOSClient | None = None

    async def start(self) -> None:
        """Begins to take batches, those first that this executor had at work; they run on this loop."""
        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": self._engine,
            "application_version": VERSION,
            "executor_id": self._executor_id,
            "serializer": DBOSPortableJSON,
            "use_listen_notify": False,  # nobody waits for a workflow's messages
            "log_level": "WARNING",
        }
        DBOS(config=config)
        _use_our_log()

        async def run_batch(batch_id: str) -> None:
            await self._run_batch(batch_id)

        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(run_batch)
        DBOS.launch()  # here and not in a thread, or the batches would run on another loop
        await asyncio.to_thread(  # the asynchronous call would give this loop a thread pool that `close` ends
            DBOS.register_queue,
            QUEUE,
            worker_concurrency=MAX_BATCHES,
            partition_worker_concurrency=MAX_BATCHES_PER_KEY,
            polling_interval_sec=POLL_S,
        )
        self._client = await asyncio.to_thread(
            DBOSClient,
            system_database_engine=self._engine,
            serializer=DBOSPortableJSON,
            application_name=APPLICATION,
        )

    async def close(self) -> None:
        """Leaves the batches that are at work to the next start. They must have been cancelled."""
        logging.getLogger("dbos").setLevel(logging.ERROR)  # it warns of each of them
        if self._client is not None:
            await asyncio.to_thread(self._client.destroy)
        await asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=0, destroy_registry=True)

    def submit(self, connection: sa.Connection, batch_id: str, key: str, priority: int) -> None:
        """Has a batch run once the transaction commits."""
        assert self._client is not None
        options = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": batch_id,
            "app_version": VERSION,
            "priority": priority,
            "queue_partition_key": key,
        }
        self._client.enqueue_in_transaction(connection, options, batch_id)  # type: ignore[arg-type]

    def recover(self, executor_ids: Sequence[str]) -> None:
        """Takes the batches of executors that are dead. Blocks."""
        DBOS._recover_pending_workflows(list(executor_ids))

    def known(self, batch_ids: Sequence[str]) -> set[str]:
        """Which of the batches wait or have begun. Blocks."""
        live = DBOS.list_workflows(
            workflow_ids=list(batch_ids),
            status=["PENDING", "ENQUEUED", "DELAYED"],
            load_input=False,
            load_output=False,
        )
        return {one.workflow_id for one in live}

    def forget_ended(self) -> None:
        """Deletes the workflows of batches that ended a while ago. Blocks."""
        before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - FORGET_S))
        ended = DBOS.list_workflows(
            status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
            completed_before=before,
            limit=1_000,
            load_input=False,
            load_output=False,
        )
        if ended:
            DBOS.delete_workflows([one.workflow_id for one in ended])


def _use_our_log() -> None:
    """Its lines go where the gateway's go, in their form."""
    log = logging.getLogger("dbos")
    log.handlers.clear()
    log.propagate = True
