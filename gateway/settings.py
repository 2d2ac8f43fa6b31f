"""The gateway's settings: config/gateway.yaml, overridden by GATEWAY_… environment variables.

A nested value is spelled with two underscores: GATEWAY_SERVER__PORT=9000. An unknown key is an error.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

CONFIG_FILE = Path(__file__).resolve().parents[1] / "config" / "gateway.yaml"
CONFIG_VARIABLE = "GATEWAY_CONFIG"  # another file; may be absent only where it is the default one

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(Section):
    """Where it listens and how it ends."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cors_origins: tuple[str, ...] = ()
    drain_s: Positive = 30.0  # what runs may finish within, after SIGTERM
    allow_without_keys: bool = False  # listen beyond loopback although nobody needs a key

    @model_validator(mode="after")
    def _tls_is_complete(self) -> ServerSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key are given together or not at all")
        return self


class UpstreamSettings(Section):
    """The TorchServe servers that decode windows."""

    urls: tuple[AnyHttpUrl, ...] = (AnyHttpUrl("http://127.0.0.1:8080"),)
    management_urls: tuple[AnyHttpUrl, ...] = ()  # in the order of `urls`; to follow the number of workers
    model: str = "whisper"  # TorchServe's name of it
    aliases: tuple[str, ...] = ("whisper-1",)  # more names that callers may use for it
    key_file: Path | None = None  # TorchServe's key_file.json, where its token authorization is on
    workers: Count = 1  # per upstream, where no management address tells
    batches_outstanding: Positive = (
        3.0  # windows at work per worker, in batches: measured to keep batches full
    )
    timeout_s: Positive = 900.0  # of one window
    max_deaths: Count = 2  # workers a window may kill before its request fails


class MediaSettings(Section):
    """What an upload may cost before its first window is decoded."""

    processes: Count = 2  # decoding media and finding speech, in processes that may crash
    memory_mb: Count = 2_048  # address space of one of them
    cpu_s: Positive = 120.0  # processor seconds of one upload
    max_upload_bytes: Count = 150_000_000
    max_audio_s: Positive = 4 * 3600.0
    max_uploads: Count = 64  # at once; more are refused with 429
    upload_idle_s: Positive = 15.0  # without a byte of the body
    min_upload_bytes_per_s: Positive = 1_000.0  # on average, after the first `upload_idle_s`
    spool_dir: Path | None = None  # None: the system's temporary directory


class AccessSettings(Section):
    """Who may call, and how much."""

    keys_file: Path | None = None  # YAML; see docs/gateway.md
    keys: tuple[SecretStr, ...] = ()  # plain keys without limits of their own
    requests_per_minute: Count | None = None  # per key or address, unless the key says otherwise
    audio_seconds_per_minute: Positive | None = None
    storage_url: str = "memory://"  # or redis://host:port/0, shared by several gateways
    trusted_proxies: tuple[str, ...] = ()  # addresses whose X-Forwarded-For is believed


class AdmissionSettings(Section):
    """How much may wait."""

    max_queued_audio_s: Positive = 4 * 3600.0 + 3600.0  # of all requests that are not finished
    default_deadline_s: Positive = 3600.0  # of a request without X-Request-Deadline


class ObserveSettings(Section):
    log_level: str = "info"
    log_text: bool = False  # transcripts are private
    otlp_endpoint: AnyHttpUrl | None = None  # traces go there; None: no traces


class Settings(BaseSettings):
    """Everything, frozen and checked."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    server: ServerSettings = ServerSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    media: MediaSettings = MediaSettings()
    access: AccessSettings = AccessSettings()
    admission: AdmissionSettings = AdmissionSettings()
    observe: ObserveSettings = ObserveSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_FILE)
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=file)
