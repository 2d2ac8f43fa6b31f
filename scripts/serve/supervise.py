"""From the options to the end of the server, one step after the other."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from asr.checkpoint_files import kind_of
from scripts.serve import addresses, archive, models, settings
from scripts.serve.addresses import Address
from scripts.serve.arguments import ServeOptions
from scripts.serve.gateway import GatewayLaunch, GatewayProcess, gateway_launch
from scripts.serve.java import find_java
from scripts.serve.models import Weights
from scripts.serve.readiness import Probe, ServerEnded, check_alive, wait_until_ready, watch
from scripts.serve.restarts import Restarts
from scripts.serve.serve_error import ServeError, Stop
from scripts.serve.settings import Paths
from scripts.serve.torchserve import Launch, TorchServe

GATEWAY_READY_S = 150.0  # above the 120 s that the gateway gives a slow model for its first window
SHOWN_CHARS = 200  # of the sample's transcript
LOW_DISK_BYTES = 500_000_000  # for logs, the archive and its unpacked copy


def serve(options: ServeOptions, root: Path, called_from: Path) -> None:
    """Returns after --dry-run and --print-config; otherwise ends by ServeError or Stop."""
    models_dir = root / "whisper-models"
    weights = models.weights_of(options.model, models_dir, called_from, options.source)
    paths, properties, model_config = _configuration(options, root, weights)
    if options.print_config:
        _print_config(properties, model_config)
        return
    gateway = _gateway(options, properties, paths)
    addresses.check_free(properties, *([gateway.address] if gateway else []))
    java = find_java(os.environ)
    if options.dry_run:
        _print_plan(options, weights, java, properties, gateway)
        return
    _check_disk(paths)
    weights = models.ensure_weights(options.model, weights, os.environ, options.source, say)
    _announce(options.model, weights)
    settings.put_checkpoint(model_config, weights.checkpoint, weights.adapter)
    settings.prepare(paths, properties, model_config, gateway.address.url if gateway else None)
    if archive.ensure_archive(paths):
        say(f"built {paths.model_store / archive.ARCHIVE}")
    _run(Launch(java, properties, paths), options, gateway)


def say(line: str) -> None:
    """A line for the operator, among the server's own."""
    print(f"serve.sh: {line}", file=sys.stderr, flush=True)


def _run(launch: Launch, options: ServeOptions, gateway_launch: GatewayLaunch | None) -> None:
    """Keeps TorchServe running beside the gateway until a signal, or until it ends again and again."""
    gateway = GatewayProcess(gateway_launch) if gateway_launch else None
    restarts = Restarts()
    try:
        while True:
            try:
                _serve_once(launch, options, gateway, is_restart=restarts.count > 0)
            except ServerEnded as error:
                if not restarts.another():
                    raise ServeError(f"{error}; it ended {restarts.count} times in a short while") from error
                say(f"{error}; starting it again")
    except Stop:
        say("stopping: what runs may finish first" if gateway else "stopping TorchServe and its workers")
        raise
    finally:
        if gateway is not None:
            gateway.stop()


def _serve_once(
    launch: Launch, options: ServeOptions, gateway: GatewayProcess | None, *, is_restart: bool
) -> NoReturn:
    """One life of TorchServe: raises ServerEnded when it ends after it was ready, Stop on a signal."""
    launch.paths.key_file.unlink(missing_ok=True)  # the keys of a server that is gone
    say(f"starting TorchServe with {launch.java}")
    server = TorchServe(launch)
    try:
        probe = _probe(options, launch.paths, launch.properties)
        text = wait_until_ready(server, probe, options.startup_timeout_s, say, _care_for(gateway, is_restart))
        if gateway is not None:
            gateway.wait_until_ready(GATEWAY_READY_S, lambda: check_alive(server))
        if is_restart:
            say("READY again")
        else:
            _print_ready(options, launch.paths, probe, text, gateway)
        watch(server, probe, check=_care_for(gateway, has_served=True))
    except Stop:
        if gateway is not None:
            gateway.stop()  # drains while the workers still work
        raise
    finally:
        server.stop()


def _care_for(gateway: GatewayProcess | None, has_served: bool) -> Callable[[], None]:
    """Handles a gateway that ended: reports one that never served, starts another again."""
    if gateway is None:
        return lambda: None
    return gateway.keep_alive if has_served else gateway.check_alive


def _gateway(options: ServeOptions, properties: Mapping[str, str], paths: Paths) -> GatewayLaunch | None:
    if options.no_gateway:
        return None
    key_file = paths.key_file if has_keys(properties) else None
    return gateway_launch(options, properties, key_file, paths.root)


def _configuration(
    options: ServeOptions, root: Path, weights: Weights
) -> tuple[Paths, dict[str, str], dict[str, Any]]:
    """Paths, config.properties and model-config.yaml as they will be used, checked; nothing is written."""
    config_dir = root / "config"
    base = settings.read_properties(config_dir / "config.properties")
    port = options.port or Address.parse("inference_address", base.get("inference_address", "")).port
    paths = Paths(
        root=root,
        config_dir=config_dir,
        handler_dir=root / "handler",
        model_store=options.model_store,
        run_dir=options.run_dir or root / "tmp" / f"server-{port}",
        log_dir=options.log_dir,
    )
    properties = settings.effective_properties(base, options, paths)
    addresses.check_exposure(properties)
    properties = addresses.with_free_grpc_ports(properties)
    model_config = settings.effective_model_config(
        settings.read_model_config(config_dir / "model-config.yaml"),
        options,
        weights.checkpoint,
        weights.adapter,
    )
    settings.check_handler_section(model_config)
    return paths, properties, model_config


def _probe(options: ServeOptions, paths: Paths, properties: Mapping[str, str]) -> Probe:
    name = "harvard.wav" if options.model == models.DEMO else "jfk.flac"  # synthetic for the one, human
    sample = paths.root / "samples" / name
    return Probe(
        url=_url(properties, "inference_address") + "/predictions/whisper",
        management_url=_url(properties, "management_address") + "/models/whisper",
        sample=sample,
        reference=sample.with_suffix(".txt").read_text(encoding="utf-8")
        if models.is_known(options.model)
        else None,
        key_file=paths.key_file if has_keys(properties) else None,
    )


def has_keys(properties: Mapping[str, str]) -> bool:
    """Whether token authorization is on, which is TorchServe's default."""
    return properties.get("disable_token_authorization", "false").strip().lower() != "true"


def _announce(model: str, weights: Weights) -> None:
    if model == models.DEMO:
        say("MODEL demo: a bundled demo with a small vocabulary, to see everything work. For real speech:")
        say("  ./serve.sh base           (99 languages, 145 MB)   or   ./serve.sh large-v3-turbo   (1.6 GB)")
    else:
        say(f"MODEL {model}: {_described(weights)}")


def _described(weights: Weights) -> str:
    adapter = f", with the LoRA adapter {weights.adapter} merged into it" if weights.adapter else ""
    return f"{weights.checkpoint}{adapter}"


def _print_ready(
    options: ServeOptions, paths: Paths, probe: Probe, text: str, gateway: GatewayProcess | None
) -> None:
    lines = [f"READY: {options.model} transcribed {probe.sample}: {text[:SHOWN_CHARS]!r}",
             *([f"  page            {gateway.url}/",
                f"  OpenAI API      {gateway.url}/v1"] if gateway else []),
             f"  TorchServe      {probe.url}",
             f"  management      {probe.management_url}",
             f"  log files       {paths.log_dir}"]  # fmt: skip
    key = ""
    if probe.key_file is not None:
        lines.append(f"  keys            {probe.key_file} (new at every start)")
        read = f"import json; print(json.load(open({str(probe.key_file)!r}))['inference']['key'])"
        key = f' -H "Authorization: Bearer $({shlex.quote(sys.executable)} -c {shlex.quote(read)})"'
    url = probe.url
    if gateway is not None:
        key = ' -H "Authorization: Bearer $YOUR_KEY"' if gateway.launch.needs_key else ""
        url = f"{gateway.url}/v1/audio/transcriptions"
    upload = f"-F file=@{shlex.quote(str(probe.sample))} -F response_format=text"
    lines += [
        "Try it from another terminal:",
        f"  curl -sS{key} {upload} {url}",
        "Ctrl-C stops the server.",
    ]
    for line in lines:
        say(line)


def _print_config(properties: Mapping[str, str], model_config: Mapping[str, object]) -> None:
    print("# config.properties", *(f"{key}={value}" for key, value in properties.items()), sep="\n")
    print("\n# model-config.yaml")
    print(yaml.safe_dump(dict(model_config), sort_keys=False), end="")


def _print_plan(
    options: ServeOptions,
    weights: Weights,
    java: Path,
    properties: Mapping[str, str],
    gateway: GatewayLaunch | None,
) -> None:
    missing = "missing" if options.model == models.DEMO else "to be downloaded"
    there = "there" if kind_of(weights.checkpoint) else missing
    print(f"model       {options.model}: {_described(weights)} ({there})")
    print(f"java        {java}")
    print(f"python      {sys.executable}")
    for key in addresses.HTTP_ADDRESSES:
        print(f"{key.partition('_')[0]:<11} {properties[key]}")
    print(f"gateway     {gateway.address.url if gateway else 'none (--no-gateway)'}")
    print(f"keys        {'on' if has_keys(properties) else 'off (loopback only)'}")
    print("nothing was started (--dry-run)")


def _check_disk(paths: Paths) -> None:
    for directory in (paths.run_dir, paths.model_store, paths.log_dir):
        directory.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(directory).free
        if free < LOW_DISK_BYTES:
            raise ServeError(
                f"{directory} has {free / 1e6:.0f} MB free, needs {LOW_DISK_BYTES / 1e6:.0f}: free some space"
            )


def _url(properties: Mapping[str, str], key: str) -> str:
    return Address.parse(key, properties[key]).url
