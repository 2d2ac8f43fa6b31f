"""Carries out the Dockerfile's steps in plain directories, where no Docker daemon can run.

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm BASE
    unshare --mount python3 -m scripts.maintenance.prove_image BASE WORK [--bind DIR]… [-- ARGUMENT…]

BASE stands for the base image. FROM copies it, COPY copies from the build context that .dockerignore
allows, RUN and the entry point run under chroot as the Dockerfile's user with its variables. Needs root.
`--bind` shows directories of this machine inside, such as pip's package cache; PIP_ variables are passed
on. An unknown instruction ends it, so that nothing is skipped in silence; VOLUME, EXPOSE and HEALTHCHECK
need a daemon and are only printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DAEMON_ONLY = ("VOLUME", "EXPOSE", "HEALTHCHECK")


@dataclass
class Stage:
    """One build stage: its directory and what its instructions set so far."""

    root: Path
    workdir: str = "/"
    user: str = "0:0"
    environ: dict[str, str] = field(default_factory=dict)

    def command(self, *argv: str) -> list[str]:
        """`argv` as it runs inside, with Docker's environment and nothing of ours but pip's settings."""
        pip = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
        environ = {
            "PATH": BASE_PATH,
            "HOME": "/root" if self.user == "0:0" else "/app",
            **pip,
            **self.environ,
        }
        words = [f"{key}={value}" for key, value in environ.items()]
        enter = f'cd {self.workdir} && exec "$@"'
        return ["chroot", f"--userspec={self.user}", str(self.root),
                "/usr/bin/env", "-i", *words, "/bin/sh", "-c", enter, "sh", *argv]  # fmt: skip

    def inside(self, path: str) -> Path:
        return self.root / os.path.normpath(os.path.join(self.workdir, path)).lstrip("/")


class Builder:
    """The instructions, one method each."""

    def __init__(self, base: Path, work: Path, binds: list[Path]) -> None:
        self.base, self.work, self.binds = base, work, binds
        self.stages: dict[str, Stage] = {}
        self.stage: Stage | None = None
        self.arguments: dict[str, str] = {}
        self.entrypoint: list[str] = []
        self.cmd: list[str] = []

    def step(self, instruction: str, rest: str) -> None:
        print(f"== {instruction} {rest}"[:150], flush=True)
        if instruction in DAEMON_ONLY:
            return
        getattr(self, f"do_{instruction.lower()}")(rest)

    @property
    def current(self) -> Stage:
        assert self.stage is not None, "an instruction before FROM"
        return self.stage

    def do_arg(self, rest: str) -> None:
        name, _, default = rest.partition("=")
        self.arguments.setdefault(name, default)
        if self.stage is not None:
            self.stage.environ.setdefault(name, self.arguments[name])

    def do_from(self, rest: str) -> None:
        name = rest.split()[-1]
        root = self.work / name
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.base), str(root)], check=True)
        # The Python image calls it so, and has no python3-venv of Debian's to ask for.
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        for bind in (Path("/proc"), Path("/dev"), *self.binds):
            inside = root / str(bind).lstrip("/")
            inside.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--rbind", str(bind), str(inside)], check=True)
        self.stage = self.stages[name] = Stage(root)

    def do_env(self, rest: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", rest):
            self.current.environ[name] = value.replace("$PATH", self.current.environ.get("PATH", BASE_PATH))

    def do_workdir(self, rest: str) -> None:
        self.current.workdir = rest
        self.current.inside(".").mkdir(parents=True, exist_ok=True)

    def do_user(self, rest: str) -> None:
        self.current.user = rest

    def do_run(self, rest: str) -> None:
        subprocess.run(self.current.command("/bin/sh", "-c", rest), check=True)

    def do_copy(self, rest: str) -> None:
        words = rest.split()
        source_stage = words.pop(0)[len("--from=") :] if words[0].startswith("--from=") else None
        target = self.current.inside(words[-1])
        for word in words[:-1]:
            if source_stage:
                source = self.stages[source_stage].inside(word)
            else:
                assert allowed(word), f".dockerignore keeps {word} out of the build context"
                source = ROOT / word
            into = target if source.is_dir() else target / source.name if words[-1].endswith("/") else target
            into.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                caches = (
                    shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache") if not source_stage else None
                )
                shutil.copytree(source, into, symlinks=True, ignore=caches, dirs_exist_ok=True)
            else:
                shutil.copy2(source, into)

    def do_entrypoint(self, rest: str) -> None:
        self.entrypoint = json.loads(rest)

    def do_cmd(self, rest: str) -> None:
        self.cmd = json.loads(rest)


def allowed(source: str) -> bool:
    """Whether .dockerignore's allow-list has `source`, itself or a folder above it."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line[1:].strip("/") for line in lines if line.startswith("!")]
    return any(source.strip("/") == name or source.startswith(name + "/") for name in kept)


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, rest of its line) of a Dockerfile, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
    ]


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line; what follows `--` is the entry point's, its options too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--bind", type=Path, action="append", default=[])
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--build-only", action="store_true")
    parser.usage = "%(prog)s BASE WORK [--bind DIR]… [--build-arg NAME=VALUE]… [--build-only] [-- ARGUMENT…]"
    end = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:end])
    args.arguments = argv[end + 1 :]  # instead of CMD
    return args


def main() -> int:
    """Exit status: that of the entry point."""
    args = parse(sys.argv[1:])
    args.work.mkdir(parents=True, exist_ok=True)
    builder = Builder(args.base, args.work, args.bind)
    builder.arguments.update(pair.split("=", 1) for pair in args.build_arg)
    for instruction, rest in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        builder.step(instruction, rest)
    if args.build_only:
        return 0
    command = [*builder.entrypoint, *(args.arguments or builder.cmd)]
    print(f"== as user {builder.current.user}: {' '.join(command)}", flush=True)
    os.execvp("chroot", builder.current.command(*command))


if __name__ == "__main__":
    sys.exit(main())
