"""From the options to the end of the server, one step after the other."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from asr.checkpoint_files import kind_of
from scripts.serve import addresses, archive, models, settings, tuning
from scripts.serve.addresses import Address
from scripts.serve.arguments import ServeOptions
from scripts.serve.gateway import GatewayLaunch, GatewayProcess, gateway_launch
from scripts.serve.gateway_models import GatewayModels
from scripts.serve.java import find_java
from scripts.serve.models import Weights
from scripts.serve.readiness import (
    Probe,
    ServerEnded,
    check_alive,
    wait_for_another,
    wait_until_ready,
    watch,
)
from scripts.serve.restarts import Restarts
from scripts.serve.serve_error import ServeError, Stop
from scripts.serve.served_models import (
    Served,
    fetched,
    for_torchserve,
    model_configs,
    on_demand_properties,
    served_models,
)
from scripts.serve.settings import Paths
from scripts.serve.stop_signals import held
from scripts.serve.torchserve import Launch, TorchServe

GATEWAY_READY_S = 150.0  # above the 120 s that the gateway gives a slow model for its first window
SHOWN_CHARS = 200  # of the sample's transcript
LOW_DISK_BYTES = 500_000_000  # for logs, the archive and its unpacked copy


def serve(options: ServeOptions, root: Path, called_from: Path) -> None:
    """Returns after --dry-run and --print-config; otherwise ends by ServeError or Stop."""
    served = served_models(options, root, called_from)
    paths, properties, configs = _configuration(options, root, served)
    if options.print_config:
        _print_config(properties, for_torchserve(configs, served))
        return
    workers = {name: int(config["minWorkers"]) for name, config in configs.items()}
    gateway = _gateway(options, properties, paths, GatewayModels(served, workers))
    addresses.check_free(properties, *([gateway.address] if gateway else []))
    java = find_java(os.environ)
    if options.dry_run:
        _print_plan(served, java, properties, gateway)
        return
    _check_disk(paths)
    served = fetched(served, options, os.environ, say)
    for each in served:
        _announce(each)
        settings.put_checkpoint(configs[each.name], each.weights.checkpoint, each.weights.adapter)
    if sum(workers.values()) > 1:  # one worker checks itself
        models = GatewayModels(served, workers).with_memory(configs, root)
        gateway = _gateway(options, properties, paths, models)
    settings.prepare(
        paths, properties, for_torchserve(configs, served), gateway.address.url if gateway else None
    )
    for name in configs:
        if archive.ensure_archive(paths, name):
            say(f"built {paths.model_store / name}.mar")
    _run(Launch(java, properties, paths), Plan(served, options), gateway)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a start of TorchServe is to serve."""

    served: tuple[Served, ...]
    options: ServeOptions


def say(line: str) -> None:
    """A line for the operator, among the server's own."""
    print(f"serve.sh: {line}", file=sys.stderr, flush=True)


def _run(launch: Launch, plan: Plan, gateway_launch: GatewayLaunch | None) -> None:
    """Keeps TorchServe running beside the gateway until a signal, or until it ends again and again."""
    restarts = Restarts()
    with contextlib.ExitStack() as ends:
        try:
            gateway = _start_gateway(gateway_launch, ends)
            while True:
                try:
                    _serve_once(launch, plan, gateway, is_restart=restarts.count > 0)
                except ServerEnded as error:
                    if not restarts.another():
                        raise ServeError(f"{error}, {restarts.count} times in a short while") from error
                    say(f"{error}; starting it again")
        except Stop:
            say("stopping: what runs may finish first" if gateway_launch else "stopping TorchServe")
            raise


def _start_gateway(launch: GatewayLaunch | None, ends: contextlib.ExitStack) -> GatewayProcess | None:
    """The gateway, which is stopped when `ends` closes."""
    with held():
        gateway = GatewayProcess(launch) if launch else None
        if gateway:
            ends.callback(gateway.stop)
    return gateway


def _serve_once(launch: Launch, plan: Plan, gateway: GatewayProcess | None, *, is_restart: bool) -> NoReturn:
    """One life of TorchServe: raises ServerEnded when it ends after it was ready, Stop on a signal."""
    launch.paths.key_file.unlink(missing_ok=True)  # the keys of a server that is gone
    say(f"starting TorchServe with {launch.java}")
    with contextlib.ExitStack() as ends:
        with held():
            server = TorchServe(launch)
            ends.callback(server.stop)
        try:
            _start_and_watch(server, launch, plan, gateway, is_restart=is_restart)
        except Stop:
            if gateway is not None:
                gateway.stop()  # drains while the workers still work
            raise


def _start_and_watch(
    server: TorchServe, launch: Launch, plan: Plan, gateway: GatewayProcess | None, *, is_restart: bool
) -> NoReturn:
    """Waits until every model answers, says so, and watches them."""
    at_start = [each for each in plan.served if not each.is_on_demand]
    probe, *others = [_probe(each, plan, launch) for each in at_start]
    patience_s = plan.options.startup_timeout_s
    text = wait_until_ready(server, probe, patience_s, say, _care_for(gateway, is_restart))
    for each, other in zip(at_start[1:], others, strict=True):
        say(wait_for_another(server, other, each.name, patience_s))
    if gateway is not None:
        gateway.wait_until_ready(GATEWAY_READY_S, lambda: check_alive(server, probe))
    if is_restart:
        say("READY again")
    else:
        _print_ready(plan.served[0], launch.paths, probe, text, gateway)
    watch(server, probe, check=_care_for(gateway, has_served=True))


def _care_for(gateway: GatewayProcess | None, has_served: bool) -> Callable[[], None]:
    """Handles a gateway that ended: reports one that never served, starts another again."""
    if gateway is None:
        return lambda: None
    return gateway.keep_alive if has_served else gateway.check_alive


def _gateway(
    options: ServeOptions, properties: Mapping[str, str], paths: Paths, models: GatewayModels
) -> GatewayLaunch | None:
    if options.no_gateway:
        return None
    key_file = paths.key_file if has_keys(properties) else None
    return gateway_launch(options, properties, key_file, paths.root, models)


def _configuration(
    options: ServeOptions, root: Path, served: Sequence[Served]
) -> tuple[Paths, dict[str, str], dict[str, dict[str, Any]]]:
    """Paths, config.properties and each model's model-config.yaml as they will be used, checked; nothing is
    written."""
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
    properties["load_models"] = ",".join(f"{each.name}.mar" for each in served)
    addresses.check_exposure(properties)
    properties = addresses.with_free_grpc_ports(properties)
    configs = model_configs(settings.read_model_config(config_dir / "model-config.yaml"), options, served)
    for config in configs.values():
        tuning.put_folder(config, config_dir)
        settings.check_handler_section(config)
    properties |= on_demand_properties(configs, served)
    return paths, properties, configs


def _probe(served: Served, plan: Plan, launch: Launch) -> Probe:
    name = "harvard.wav" if served.model == models.DEMO else "jfk.flac"  # synthetic for the one, human
    sample = launch.paths.root / "samples" / name
    return Probe(
        url=f"{_url(launch.properties, 'inference_address')}/predictions/{served.name}",
        management_url=f"{_url(launch.properties, 'management_address')}/models/{served.name}",
        sample=sample,
        reference=sample.with_suffix(".txt").read_text(encoding="utf-8")
        if models.is_known(served.model)
        else None,
        key_file=launch.paths.key_file if has_keys(launch.properties) else None,
        alone=len(plan.served) == 1,
    )


def has_keys(properties: Mapping[str, str]) -> bool:
    """Whether token authorization is on, which is TorchServe's default."""
    return properties.get("disable_token_authorization", "false").strip().lower() != "true"


def _announce(served: Served) -> None:
    if served.model == models.DEMO:
        say("MODEL demo: a bundled demo with a small vocabulary, to see everything work. For real speech:")
        say("  ./serve.sh base           (99 languages, 145 MB)   or   ./serve.sh large-v3-turbo   (1.6 GB)")
    else:
        languages = f", for {', '.join(served.row.languages)}" if served.row.languages else ""
        loads = ", loads with its first request to the gateway" if served.is_on_demand else ""
        say(f"MODEL {served.model}: {_described(served.weights)}{languages}{loads}")


def _described(weights: Weights) -> str:
    adapter = f", with the LoRA adapter {weights.adapter} merged into it" if weights.adapter else ""
    return f"{weights.checkpoint}{adapter}"


def _print_ready(
    served: Served, paths: Paths, probe: Probe, text: str, gateway: GatewayProcess | None
) -> None:
    lines = [f"READY: {served.model} transcribed {probe.sample}: {text[:SHOWN_CHARS]!r}",
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


def _print_config(properties: Mapping[str, str], configs: Mapping[str, Mapping[str, object]]) -> None:
    print("# config.properties", *(f"{key}={value}" for key, value in properties.items()), sep="\n")
    for name, config in configs.items():
        print(f"\n# model-config.yaml{f' of {name}' if len(configs) > 1 else ''}")
        print(yaml.safe_dump(dict(config), sort_keys=False), end="")


def _print_plan(
    served: Sequence[Served], java: Path, properties: Mapping[str, str], gateway: GatewayLaunch | None
) -> None:
    for each in served:
        missing = "missing" if each.model == models.DEMO else "to be downloaded"
        there = "there" if kind_of(each.weights.checkpoint) else missing
        called = f"{each.name} = " if len(served) > 1 else ""
        print(f"model       {called}{each.model}: {_described(each.weights)} ({there})")
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
