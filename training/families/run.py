"""Trains one family for a budget of processor time; stops and resumes at checkpoints."""

from __future__ import annotations

import argparse
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from training.families.clips import Batch, Clips
from training.families.ctc import CtcNetwork
from training.families.transducer import TransducerNetwork
from training.families.warm_start import warmed
from training.together import average_gradients, step_matrices

FAMILIES: dict[str, type[CtcNetwork] | type[TransducerNetwork]] = {
    "ctc": CtcNetwork, "transducer": TransducerNetwork,
}  # fmt: skip
PEAK_RATE = 1e-3
MATRIX_FACTOR = 2.0  # Muon's rate over AdamW's
WARMUP_STEPS = 50
DECAY_FROM = 0.6  # share of the budget
CHECKPOINT_S = 120.0
LOG_STEPS = 50


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the run lives and how much processor time its processes may use together."""

    family: str
    run: Path
    data: Path
    core_minutes: float
    seed: int
    processes: int
    warm_start: Path | None


def learning_rate(step: int, progress: float) -> float:
    """Warm-up by steps, then constant, then a square-root decay to 1 % at the end."""
    rate = PEAK_RATE * min(1.0, (step + 1) / WARMUP_STEPS)
    if progress > DECAY_FROM:
        rate *= max(0.01, 1 - ((progress - DECAY_FROM) / (1 - DECAY_FROM)) ** 0.5)
    return rate


class Trainer:
    """Network, its two optimisers, and the processor time spent on it."""

    def __init__(self, settings: Settings, rank: int) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.network = FAMILIES[settings.family]()
        seed, share = settings.seed + 1_000_003 * rank, 1 / settings.processes
        self.clips = Clips(settings.data, self.network.kind, seed, share)
        named = list(self.network.named_parameters())
        self.matrices = [p for name, p in named if ".blocks." in name and p.ndim == 2]
        chosen = {id(p) for p in self.matrices}
        self.owned = self.matrices[rank :: settings.processes]
        self.muon = torch.optim.Muon(
            self.owned, lr=PEAK_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        others = [p for _, p in named if id(p) not in chosen]
        self.adam = torch.optim.AdamW(others, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.step, self.audio_s, self.spent_s = 0, 0.0, 0.0
        self.path = settings.run / "checkpoint.pt"
        if self.path.exists():
            self._restore()
        elif settings.warm_start is not None and isinstance(self.network, TransducerNetwork):
            first = Clips(settings.data, self.network.kind, settings.seed, share)
            warmed(self.network, settings.warm_start, first)  # the same windows for every process
        self.began_s = self.spent_s - settings.processes * time.process_time()

    def _restore(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.adam.load_state_dict(state["adam"])
        self.step, self.audio_s, self.spent_s = state["step"], state["audio_s"], state["spent_s"]
        self.clips.rng.seed(f"{self.clips.rng.random()}/{self.step}")

    def save(self) -> None:
        """Replaces the checkpoint in one step."""
        state = {
            "network": self.network.state_dict(), "adam": self.adam.state_dict(),
            "step": self.step, "audio_s": self.audio_s, "spent_s": self.spent_s,
        }  # fmt: skip
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)

    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        self.spent_s = self.began_s + self.settings.processes * time.process_time()
        return min(1.0, self.spent_s / (60 * self.settings.core_minutes))

    def update(self, batch: Batch, rate: float) -> dict[str, torch.Tensor]:
        """One optimiser step on one batch."""
        for optimizer, factor in ((self.adam, 1.0), (self.muon, MATRIX_FACTOR)):
            for group in optimizer.param_groups:
                group["lr"] = factor * rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = self.network(batch)
        losses["total"].backward()
        average_gradients(self.network, self.settings.processes)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.adam.step()
        step_matrices(self.muon, self.matrices, self.owned)
        self.network.zero_grad(set_to_none=True)
        self.step += 1
        self.audio_s += batch.audio_s * self.settings.processes
        return losses


class Log:
    """Prints the means over LOG_STEPS steps, and appends them to log.txt."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self.path, self.names = path, names
        self.rows: list[torch.Tensor] = []

    def add(self, losses: dict[str, torch.Tensor], trainer: Trainer, rate: float) -> None:
        self.rows.append(torch.stack([losses[name].detach().float() for name in self.names]))
        if trainer.step % LOG_STEPS:
            return
        means = torch.stack(self.rows).mean(dim=0).tolist()
        self.rows.clear()
        line = f"step={trainer.step} hours={trainer.audio_s / 3600:.2f} core_min={trainer.spent_s / 60:.1f} "
        line += f"rate={rate:.1e} " + " ".join(
            f"{name}={mean:.3f}" for name, mean in zip(self.names, means, strict=True)
        )
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def train(rank: int, settings: Settings) -> None:
    """Process `rank` of a run. SIGTERM ends it with a checkpoint, which is never older than CHECKPOINT_S."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    torch.set_num_threads(1)
    store = dist.FileStore(str(settings.run / f"store-{os.getppid()}"), settings.processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=settings.processes)
    trainer = Trainer(settings, rank)
    log = Log(settings.run / "log.txt", trainer.network.names)
    saved_at = time.monotonic()
    while True:
        agreed = torch.tensor([float(bool(stopped)), trainer.progress()])
        dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
        is_stopped, progress = agreed.tolist()
        if is_stopped or progress >= 1:
            break
        rate = learning_rate(trainer.step, progress)
        losses = trainer.update(trainer.clips.draw(progress), rate)
        if rank == 0:
            log.add(losses, trainer, rate)
            if time.monotonic() - saved_at > CHECKPOINT_S:
                trainer.save()
                saved_at = time.monotonic()
    if rank == 0:
        trainer.save()
    dist.destroy_process_group()


def launch(settings: Settings) -> None:
    """Starts the processes of a run and waits for them; SIGTERM is passed on."""
    settings.run.mkdir(parents=True, exist_ok=True)
    for store in settings.run.glob("store-*"):
        store.unlink()  # of a run that was killed
    context = torch.multiprocessing.get_context("spawn")
    workers = [context.Process(target=train, args=(rank, settings)) for rank in range(settings.processes)]
    for worker in workers:
        worker.start()
    signal.signal(signal.SIGTERM, lambda number, frame: [worker.terminate() for worker in workers])
    for worker in workers:
        worker.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--core-minutes", type=float, default=100, help="processor time of the whole run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--warm-start", type=Path, help="begin with the weights of this CTC checkpoint")
    given = parser.parse_args()
    launch(
        Settings(
            given.family, given.run, given.data, given.core_minutes, given.seed, given.processes,
            given.warm_start,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
