"""Trains the demo model until a given wall-clock time; stops and resumes at checkpoints."""

from __future__ import annotations

import argparse
import csv
import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

from training.batches import Batch, loader
from training.export import trained_state
from training.network import Losses, Network
from training.schedule import Schedule
from training.together import average_gradients, step_matrices

PEAK_RATE = 1e-3
MATRIX_FACTOR = 2.0  # Muon's rate over AdamW's
CHECKPOINT_S = 180.0
LOG_STEPS = 50


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the run lives, when it ends, and how many processes of one thread share each batch."""

    run: Path
    data: Path
    ends_at: float
    seed: int
    processes: int
    new_cycle: bool
    warm_start: Path | None


def ends_at(until: str | None, minutes: float | None) -> float:
    """Unix time of the end: the next HH:MM (local time), or this many minutes from now."""
    if until is None:
        return time.time() + 60 * (minutes or 100.0)
    now = datetime.now()
    hour, minute = map(int, until.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0)
    return (end if end > now else end + timedelta(days=1)).timestamp()


class Trainer:
    """Network, its two optimisers, and how long it was trained."""

    def __init__(self, settings: Settings, rank: int) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.network = Network()
        self.matrices = [
            p for name, p in self.network.named_parameters() if ".blocks." in name and p.ndim == 2
        ]
        matrix_ids = {id(p) for p in self.matrices}
        others = [p for p in self.network.parameters() if id(p) not in matrix_ids]
        self.owned = self.matrices[rank :: settings.processes]
        self.muon = torch.optim.Muon(
            self.owned, lr=PEAK_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        self.adam = torch.optim.AdamW(others, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.step, self.audio_s = 0, 0.0
        self.cycle, self.spent_s = 0, 0.0
        self.path = settings.run / "checkpoint.pt"
        if self.path.exists():
            self._restore()
        elif settings.warm_start is not None:
            self._warm_start(settings.warm_start)

    def _restore(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.audio_s = state["step"], state["audio_s"]
        self.cycle, self.spent_s = state["cycle"], state["spent_s"]
        if self.settings.new_cycle:
            self.cycle, self.spent_s = self.cycle + 1, 0.0

    def _warm_start(self, exported: Path) -> None:
        """Takes the weights; the branches that an export lacks begin at zero and at first disturb nothing."""
        self.network.whisper.load_state_dict(trained_state(exported))
        nn.init.zeros_(self.network.name.weight)
        nn.init.zeros_(self.network.spell.weight)
        self.cycle = 1

    def save(self, spent_s: float) -> None:
        """Replaces the checkpoint in one step."""
        state = {
            "network": self.network.state_dict(), "adam": self.adam.state_dict(),
            "step": self.step, "audio_s": self.audio_s,
            "cycle": self.cycle, "spent_s": spent_s,
        }  # fmt: skip
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def update(self, batch: Batch, rate: float) -> Losses:
        """One optimiser step on one batch."""
        for optimizer, factor in ((self.adam, 1.0), (self.muon, MATRIX_FACTOR)):
            for group in optimizer.param_groups:
                group["lr"] = factor * rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = self.network(batch)
        losses.total.backward()
        average_gradients(self.network, self.settings.processes)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.adam.step()
        step_matrices(self.muon, self.matrices, self.owned)
        self.network.zero_grad(set_to_none=True)
        self.step += 1
        self.audio_s += batch.audio_s * self.settings.processes
        return losses


class Log:
    """Appends means over LOG_STEPS steps to log.csv and to the console."""

    NAMES = ("text", "spelling", "guide", "naming", "correct")

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self.file = path.open("a", newline="")
        self.writer = csv.writer(self.file)
        if is_new:
            self.writer.writerow(("step", "hours", "spent_s", "rate", *self.NAMES))
        self.sums, self.count = torch.zeros(len(self.NAMES)), 0

    def add(self, losses: Losses, trainer: Trainer, rate: float, spent_s: float) -> None:
        self.sums += torch.stack([getattr(losses, name).detach() for name in self.NAMES]).cpu()
        self.count += 1
        if trainer.step % LOG_STEPS:
            return
        means = (self.sums / self.count).tolist()
        self.sums.zero_()
        self.count = 0
        hours = trainer.audio_s / 3600
        row = (trainer.step, f"{hours:.2f}", f"{spent_s:.0f}", f"{rate:.2e}", *(f"{m:.4f}" for m in means))
        self.writer.writerow(row)
        self.file.flush()
        tqdm.write(
            " ".join(f"{k}={v}" for k, v in zip(("step", "h", "s", "lr", *self.NAMES), row, strict=True))
        )


def is_over(settings: Settings, stopped: list[int]) -> bool:
    """Whether any process was told to stop or saw the end time; all of them get the same answer."""
    flag = torch.tensor(float(bool(stopped) or time.time() >= settings.ends_at))
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag)


def train(rank: int, settings: Settings) -> None:
    """Process `rank` of a run. SIGTERM ends it with a checkpoint, which is never older than CHECKPOINT_S."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    torch.set_num_threads(1)
    store = dist.FileStore(str(settings.run / f"store-{os.getppid()}"), settings.processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=settings.processes)
    trainer = Trainer(settings, rank)
    started_at = saved_at = time.time()
    schedule = Schedule(trainer.cycle, trainer.spent_s, started_at, settings.ends_at)
    log = Log(settings.run / "log.csv") if rank == 0 else None
    seed = settings.seed + 1_000_003 * rank + trainer.step
    batches = iter(loader(settings.data, schedule, seed, 1 / settings.processes))
    bar = tqdm(desc="training", mininterval=30, initial=trainer.step, unit="step", disable=rank > 0)
    while not is_over(settings, stopped):
        now = time.time()
        rate = schedule.learning_rate(trainer.step, PEAK_RATE)
        losses = trainer.update(next(batches), rate)
        if log is not None:
            log.add(losses, trainer, rate, trainer.spent_s + now - started_at)
            bar.update()
            if now - saved_at > CHECKPOINT_S:
                trainer.save(trainer.spent_s + now - started_at)
                saved_at = now
    if rank == 0:
        trainer.save(trainer.spent_s + time.time() - started_at)
    dist.destroy_process_group()


def launch(settings: Settings) -> None:
    """Starts the processes of a run and waits for them; SIGTERM is passed on."""
    settings.run.mkdir(parents=True, exist_ok=True)
    context = torch.multiprocessing.get_context("spawn")
    workers = [context.Process(target=train, args=(rank, settings)) for rank in range(settings.processes)]
    for worker in workers:
        worker.start()
    signal.signal(signal.SIGTERM, lambda number, frame: [worker.terminate() for worker in workers])
    for worker in workers:
        worker.join()
    for store in settings.run.glob(f"store-{os.getpid()}"):
        store.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("training/runs/demo"))
    parser.add_argument("--data", type=Path, default=Path("training/runs/speech/train"))
    parser.add_argument("--until", help="end at HH:MM, local time")
    parser.add_argument("--minutes", type=float, help="minutes after which it ends (100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--new-cycle", action="store_true", help="go on with a finished run: full rate, dense windows first"
    )
    parser.add_argument(
        "--warm-start",
        type=Path,
        help="begin a run with the weights of this exported checkpoint, as a new cycle",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    end = ends_at(given.until, given.minutes)
    launch(
        Settings(given.run, given.data, end, given.seed, given.processes, given.new_cycle, given.warm_start)
    )


if __name__ == "__main__":
    main()
