"""The gateway's settings: config/gateway.yaml, overridden by GATEWAY_… environment variables.

A nested value has two underscores: GATEWAY_SERVER__PORT=9000. An unknown key is an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from pydantic_settings import (
    SettingsError as SourceError,
)

from gateway.setting_types import ApiKeys, Count, MetricsOpen, Names, Positive, Section
from gateway.settings_errors import SettingsError as SettingsError
from gateway.settings_errors import complaints, read_yaml, unknown_key
from gateway.settings_outgoing import OutboundSettings, WebhookSettings
from gateway.upstream_settings import ModelSettings as ModelSettings
from gateway.upstream_settings import UpstreamSettings as UpstreamSettings

CONFIG_FILE = Path(__file__).resolve().parents[1] / "config" / "gateway.yaml"
PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"  # names another file; only the default one may be absent


class ServerSettings(Section):
    """Where the gateway listens and how it stops."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors_origins: Names = ()
    drain_s: Positive = 30.0  # for running requests to finish after SIGTERM
    allow_without_keys: bool = False  # listen beyond loopback without any key
    max_connections: Count = 2_048  # at once; further ones are answered 503
    header_timeout_s: Positive = 10.0  # from connecting, or from the first byte, to the end of the headers
    keep_alive_s: Positive = 20.0  # lifetime of an idle connection
    send_timeout_s: Positive = 60.0  # a client that reads nothing of its answer for this time is cut off

    @model_validator(mode="after")
    def _tls_is_complete(self) -> ServerSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key are given together or not at all")
        return self


class MediaSettings(Section):
    """Limits of an upload before its first window is decoded."""

    processes: Count = 2  # that decode media and find speech; one may crash without harm
    memory_mb: Count = 2_048  # address space of one of them
    cpu_s: Positive = 240.0  # processor seconds of one upload
    max_upload_bytes: Count = 150_000_000
    max_audio_s: Positive = 4 * 3600.0
    max_uploads: Count = 64  # at once; further ones are refused with 429
    max_uploads_per_key: Count = 32  # at once, if there are keys
    upload_idle_s: Positive = 15.0  # without a byte of the body
    min_upload_bytes_per_s: Positive = 1_000.0  # on average, after the first `upload_idle_s`
    max_upload_s: Positive = 1_800.0  # total wait for the bytes of one body
    spool_dir: Path | None = None  # None: the system's temporary directory


class AccessSettings(Section):
    """Who may call, and how often."""

    keys_file: Path | None = None  # YAML; gateway/access/keys.py shows one
    keys: ApiKeys = ()  # plain keys of 16 characters or more, without limits of their own
    requests_per_minute: Count | None = None  # per key, unless the key says otherwise
    audio_seconds_per_minute: Positive | None = None
    requests_per_minute_per_address: Count | None = None  # for all keys together
    audio_seconds_per_minute_per_address: Positive | None = None
    wrong_keys_per_minute_per_address: Count | None = 60  # refusals with 401; further ones are 429
    storage_url: str = "memory://"  # or redis://host:port/0, shared by several gateways
    trusted_proxies: Names = ()  # addresses or networks whose X-Forwarded-For is believed

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError as error:  # a name would silently match nobody
                raise ValueError(f"{proxy!r} must be an address or a network: {error}") from error
        return proxies


class AdmissionSettings(Section):
    """How much may wait."""

    max_queued_audio_s: Positive = 4 * 3600.0 + 3600.0  # of all requests that are not finished
    default_deadline_s: Positive = 3600.0  # for a request without X-Request-Deadline
    max_kept_answer_bytes: Count = 64_000_000  # of answers to requests with an Idempotency-Key
    kept_answers_s: Positive = 86_400.0  # time for which one of them is known


class RealtimeSettings(Section):
    """Speech while it is spoken: the WebSocket at /v1/realtime."""

    max_streams: Count = 256  # open at once; further ones are answered 503
    max_streams_per_key: Count = 64  # of them, if there are keys; further ones are answered 429
    max_stream_s: Positive = 3_600.0  # lifetime of one
    max_waiting_audio_s: Positive = 600.0  # of one stream, received and without its transcript


class JobsSettings(Section):
    """Files and batches, which outlive the request that made them."""

    enabled: bool = True
    directory: Path | None = None  # of the files and the database; None: there are no jobs
    content: str | None = None  # of the files: a folder, or s3://bucket/prefix; None: `directory`
    database: SecretStr | None = None  # postgresql://…, shared with `directory` by several gateways
    lines: Count = 32  # of batches that are at work at the same time
    max_running_audio_s: Positive = 7_200.0  # of the lines that are transcribed now; further ones wait
    max_lines: Count = 50_000  # of one batch
    max_file_bytes: Count = 1_000_000_000  # put together from parts; one request has media.max_upload_bytes
    max_stored_bytes_per_key: Count = 50_000_000_000
    max_batches_per_key: Count = 100  # that are not finished; further ones are answered 429
    retention_s: Positive = 30 * 86_400.0  # of files and finished batches without a time of their own


class ObserveSettings(Section):
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_text: bool = False  # transcripts are private
    otlp_endpoint: AnyHttpUrl | None = None  # traces go to its /v1/traces; None: no traces
    metrics_open: MetricsOpen = "loopback"  # who reads /metrics without a key; it has callers' names


class Settings(BaseSettings):
    """All settings, checked and frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    environ: ClassVar[Mapping[str, str]] = os.environ  # the variables, and the name of the file

    server: ServerSettings = ServerSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    media: MediaSettings = MediaSettings()
    access: AccessSettings = AccessSettings()
    admission: AdmissionSettings = AdmissionSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    jobs: JobsSettings = JobsSettings()
    observe: ObserveSettings = ObserveSettings()
    outbound: OutboundSettings = OutboundSettings()
    webhooks: WebhookSettings = WebhookSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        variables = EnvSettingsSource(settings_cls)
        variables.env_vars = {name.lower(): value for name, value in cls.environ.items()}
        file = YamlConfigSettingsSource(settings_cls, yaml_file=_file(cls.environ))
        return init_settings, variables, file


def load_settings(environ: Mapping[str, str] | None = None, **sections: dict[str, Any]) -> Settings:
    """The file and the variables, with `sections` on top; raises SettingsError.

    environ: the variables, those of this process if None.
    """
    variables = Settings.environ if environ is None else environ

    class Loaded(Settings):
        environ = variables

    _check_variables(variables)
    try:
        _check_file(variables)
        return Loaded(**sections)  # type: ignore[arg-type]  # a section may be a part of its values
    except ValidationError as error:
        raise SettingsError("\n".join(complaints(error, Settings))) from error
    except (SourceError, OSError) as error:
        raise SettingsError(" ".join(str(error).split())) from error


def _file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get(CONFIG_VARIABLE) or CONFIG_FILE)


def _check_variables(environ: Mapping[str, str]) -> None:
    """Raises SettingsError for a variable that pydantic-settings would pass over, because it is mistyped."""
    known = {CONFIG_VARIABLE}
    for name, field in Settings.model_fields.items():
        known.add(f"{PREFIX}{name}".upper())
        section = field.annotation
        assert isinstance(section, type) and issubclass(section, BaseModel)
        known.update(f"{PREFIX}{name}__{key}".upper() for key in section.model_fields)
    for variable in sorted(environ):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            raise SettingsError(f"{variable} is no setting: {unknown_key(variable.upper(), known)}")


def _check_file(environ: Mapping[str, str]) -> None:
    name = environ.get(CONFIG_VARIABLE)
    if name and not Path(name).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} is {name!r}, must be the path of a YAML file")
    path = _file(environ)
    content = read_yaml(path) if path.is_file() else None
    if not isinstance(content, dict | None):
        raise SettingsError(f"{path} must have sections: {', '.join(Settings.model_fields)}")
