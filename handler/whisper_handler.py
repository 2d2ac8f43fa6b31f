"""TorchServe's entry point: a batch of rows → one answer per row. The only file that imports `ts`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from ts.handler_utils.utils import send_intermediate_predict_response
from ts.metrics.metric_type_enum import MetricTypes

from adapter.answers import answer
from adapter.intake import IncomingRow, Intake
from adapter.jobs import Job, failing_alone, public_error
from adapter.json_log import configure_logging, log_failure
from adapter.metrics import ServiceMetrics, worker_name
from adapter.records import log_request, record
from adapter.replies import EVENT_STREAM_TYPE, LINE_TYPE, Reply, announce, error_reply
from adapter.startup import LoadedService, start
from asr.errors import AsrError, Overloaded
from asr.render.events import EventStream
from asr.sessions.driver import drive


class WhisperHandler:
    """Rows become jobs, the windows of all jobs share the engine's batches, each job fails alone.

    `handle` never raises: TorchServe would answer 503 to every row of the batch.
    """

    service: LoadedService
    intake: Intake
    metrics: ServiceMetrics

    def initialize(self, context: Any) -> None:
        """Loads the model; raises with a readable message if configuration or checkpoint are unusable."""
        configure_logging()
        self.service = start(context.model_yaml_config, context.system_properties.get("gpu_id"))
        self.intake = Intake(self.service.config.limits, self.service.engine.spec)
        self.metrics = ServiceMetrics(
            lambda name, kind: context.metrics.get_metric(name, MetricTypes(kind)),
            worker=worker_name(sys.argv),
            max_rows=int(context.model_yaml_config.get("batchSize", 1)),
        )
        self.metrics.started()

    def handle(self, data: Any, context: Any) -> list[bytes]:
        """One body per row of `data`, in order; statuses and content types are set in the context."""
        rows = list(data or ())
        try:
            jobs = self.preprocess(rows, context)
            self.inference(jobs, context)
            return self.postprocess(jobs, context)
        except Exception as error:
            log_failure("handling a batch", rows=len(rows))
            errors = [public_error(error, str(context.get_request_id(i))) for i in range(len(rows))]
            refusals = [error_reply(each) for each in errors]
            for index, refusal in enumerate(refusals):
                announce(refusal, context, index)
            return [refusal.body for refusal in refusals]

    def preprocess(self, rows: Sequence[Any], context: Any) -> list[Job]:
        """One job per row: request read, media decoded, speech found; a job that failed carries its error."""
        deadline = time.monotonic() + self.service.config.limits.request_deadline_s
        arrivals = [
            IncomingRow(i, str(context.get_request_id(i)), row, context.get_all_request_header(i) or {})
            for i, row in enumerate(rows)
        ]
        jobs = self.intake.open_jobs(arrivals, deadline)
        for job in jobs:
            if job.options is not None and job.options.stream:
                job.events = EventStream(job.options, partial(self._send_event, context, job.index))
        return jobs

    def inference(self, jobs: Sequence[Job], context: Any) -> None:
        """Decodes every open session to its end, windows side by side; streams segments as they finish."""
        active = [job for job in jobs if job.session is not None and job.error is None]

        def on_progress(i: int, goes_on: bool) -> None:
            with failing_alone(active[i], "streaming"):
                active[i].stream_progress()
                if goes_on and active[i].hypothesis is not None:
                    self._answer_early(active[i], context)

        try:
            sessions = [job.session for job in active if job.session is not None]
            drive(
                self.service.engine,
                sessions,
                on_progress=on_progress,
                on_batch=self.metrics.batch,
                expired=lambda i: active[i].error or self._overdue(active[i]),
            )
        except Exception as error:
            log_failure("decoding a batch", rows=len(jobs))
            for job in active:
                job.close(error)
        for job in active:
            job.close()

    def postprocess(self, jobs: Sequence[Job], context: Any) -> list[bytes]:
        """Every job's body; sets statuses and content types, writes the log lines, counts the metrics."""
        replies = [self._reply(job) for job in jobs]
        for job, reply in zip(jobs, replies, strict=True):
            announce(reply, context, job.index)
        try:
            with_text = self.service.config.log_text
            records = [record(*pair, with_text=with_text) for pair in zip(jobs, replies, strict=True)]
            for one in records:
                log_request(one)
            self.metrics.publish(records, self.service.engine.oom_count)
        except Exception:
            log_failure("writing the log and the metrics")
        return [reply.body for reply in replies]

    def _reply(self, job: Job) -> Reply:
        if job.is_answered:
            return Reply(200, LINE_TYPE, b"")
        if job.error is None:
            with failing_alone(job, "rendering the answer"):
                return answer(job, self.service.model)
        return job.refusal()

    def _answer_early(self, job: Job, context: Any) -> None:
        """Sends a window's answer while others of the batch are decoded; its response ends with the batch."""
        line = answer(job, self.service.model).body + b"\n"
        self._send(context, job.index, Reply(200, LINE_TYPE, line))
        job.is_answered = True

    def _overdue(self, job: Job) -> AsrError | None:
        limit = self.service.config.limits.request_deadline_s
        if time.monotonic() - job.started < limit:
            return None
        return Overloaded(f"the request was not finished within {limit:g} s; try again, or send less audio")

    def _send_event(self, context: Any, index: int, event: bytes) -> None:
        self._send(context, index, Reply(200, EVENT_STREAM_TYPE, event))

    @staticmethod
    def _send(context: Any, index: int, reply: Reply) -> None:
        """Sends one chunk to one client at once; its response ends with the batch."""
        announce(reply, context, index)
        ids = {index: context.request_ids[index]}
        send_intermediate_predict_response({index: reply.body}, ids, "Prediction progress", 200, context)
