"""Trains the demo model until a given wall-clock time; stops and resumes at checkpoints."""

from __future__ import annotations

import argparse
import csv
import os
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from training.batches import Batch, loader
from training.network import Losses, Network
from training.schedule import Schedule

PEAK_RATE = 1e-3
EMA_DECAY = 0.999
CHECKPOINT_S = 180.0
LOG_STEPS = 50


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the run lives and when it ends; `threads` and `device` are PyTorch's."""

    run: Path
    data: Path
    ends_at: float
    seed: int
    threads: int
    device: str


def ends_at(until: str | None, minutes: float | None) -> float:
    """Unix time of the end: the next HH:MM (local time), or so many minutes from now."""
    if until is None:
        return time.time() + 60 * (minutes or 100.0)
    now = datetime.now()
    hour, minute = map(int, until.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0)
    return (end if end > now else end + timedelta(days=1)).timestamp()


class Trainer:
    """Network, optimiser, averaged weights, and how long they were trained."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.network = Network().to(settings.device)
        self.average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        other = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.01}, {"params": other, "weight_decay": 0.0}],
            lr=PEAK_RATE, betas=(0.9, 0.98), fused=True,
        )  # fmt: skip
        self.step, self.audio_s, self.spent_s = 0, 0.0, 0.0
        self.path = settings.run / "checkpoint.pt"
        if self.path.exists():
            self._restore()

    def _restore(self) -> None:
        state = torch.load(self.path, map_location=self.settings.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
        self.step, self.audio_s, self.spent_s = state["step"], state["audio_s"], state["spent_s"]

    def save(self, spent_s: float) -> None:
        """Replaces the checkpoint in one step."""
        state = {
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "average": self.average, "step": self.step, "audio_s": self.audio_s, "spent_s": spent_s,
        }  # fmt: skip
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def update(self, batch: Batch, rate: float) -> Losses:
        """One optimiser step on one batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.settings.device, dtype=torch.bfloat16):
            losses = self.network(batch.to(self.settings.device))
        losses.total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.audio_s += batch.audio_s
        decay = min(EMA_DECAY, self.step / (self.step + 10))
        with torch.no_grad():
            current = [p for _, p in self.network.named_parameters()]
            torch._foreach_lerp_(list(self.average.values()), current, 1 - decay)
        return losses


class Log:
    """Appends means over LOG_STEPS steps to log.csv and to the console."""

    NAMES = ("text", "ctc", "guide", "correct")

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self.file = path.open("a", newline="")
        self.writer = csv.writer(self.file)
        if is_new:
            self.writer.writerow(("step", "hours", "spent_s", "rate", *self.NAMES))
        self.sums = torch.zeros(len(self.NAMES))

    def add(self, losses: Losses, trainer: Trainer, rate: float, spent_s: float) -> None:
        self.sums += torch.stack([getattr(losses, name).detach() for name in self.NAMES]).cpu()
        if trainer.step % LOG_STEPS:
            return
        means = (self.sums / LOG_STEPS).tolist()
        self.sums.zero_()
        hours = trainer.audio_s / 3600
        row = (trainer.step, f"{hours:.2f}", f"{spent_s:.0f}", f"{rate:.2e}", *(f"{m:.4f}" for m in means))
        self.writer.writerow(row)
        self.file.flush()
        tqdm.write(" ".join(f"{k}={v}" for k, v in zip(("step", "h", "s", "lr", *self.NAMES), row, strict=True)))


def train(settings: Settings) -> None:
    """Runs until the end time; the checkpoint is at most CHECKPOINT_S old at any moment."""
    torch.set_num_threads(settings.threads)
    settings.run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(settings)
    started_at = saved_at = time.time()
    schedule = Schedule(trainer.spent_s, started_at, settings.ends_at)
    log = Log(settings.run / "log.csv")
    batches = iter(loader(settings.data, schedule, settings.seed + trainer.step))
    with tqdm(total=1.0, desc="training", mininterval=30, bar_format="{desc} {percentage:.0f}% {elapsed}") as bar:
        while (now := time.time()) < settings.ends_at:
            rate = schedule.learning_rate(trainer.step, PEAK_RATE)
            losses = trainer.update(next(batches), rate)
            spent_s = trainer.spent_s + now - started_at
            log.add(losses, trainer, rate, spent_s)
            bar.update(schedule.progress() - bar.n)
            if now - saved_at > CHECKPOINT_S:
                trainer.save(spent_s)
                saved_at = now
    trainer.save(trainer.spent_s + time.time() - started_at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("training/runs/demo"))
    parser.add_argument("--data", type=Path, default=Path("training/runs/speech/train"))
    parser.add_argument("--until", help="end at HH:MM, local time")
    parser.add_argument("--minutes", type=float, help="end after so many minutes (100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    end = ends_at(given.until, given.minutes)
    train(Settings(given.run, given.data, end, given.seed, given.threads, given.device))


if __name__ == "__main__":
    main()
