"""What TorchServe and its workers get of the environment: all that they need, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.serve.torchserve import _environment

SECRETS = {
    "GATEWAY_ACCESS__KEYS": "wsk-0123456789abcdef",
    "GATEWAY_ACCESS__STORAGE_URL": "redis://cache:6379/0",
    "WHISPER_TOKEN_AUTH": "true",
    "WHISPER_TOKEN": "abc",
    "HF_TOKEN": "hf_abc",
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "abc",
    "OPENAI_API_KEY": "sk-abc",
    "OPENAI_APIKEY": "sk-abc",
    "openai_api_key": "sk-abc",
    "PGPASSWORD": "abc",
    "REDIS_PASSWORD_FILE": "/run/secrets/redis",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json",
    "DATABASE_URL": "postgres://me:hunter2@db/whisper",
    "https_proxy": "http://me:hunter2@proxy:3128",
    "TS_CONFIG_FILE": "/elsewhere/config.properties",
}
NEEDED = {
    "PATH": "/usr/bin",
    "LD_LIBRARY_PATH": "/usr/local/cuda/lib64",
    "CUDA_VISIBLE_DEVICES": "1",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "OMP_NUM_THREADS": "4",
    "KMP_AFFINITY": "granularity=fine,compact,1,0",
    "JAVA_HOME": "/usr/lib/jvm/java-17",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128",
    "WHISPER_WORKERS": "2",
    "LANG": "C.UTF-8",
    "http_proxy": "http://proxy:3128",
}


def test_a_worker_holds_no_secret_and_has_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (SECRETS | NEEDED).items():
        monkeypatch.setenv(name, value)
    given = _environment(tmp_path, tmp_path / "logs")
    assert SECRETS.keys() & given.keys() == set()
    assert {name: given.get(name) for name in NEEDED} == NEEDED
    assert given["LOG_LOCATION"] == str(tmp_path / "logs")
