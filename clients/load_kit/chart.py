"""Pictures of results with matplotlib, which nothing else here needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from load_kit.surroundings import model_line
from whisper_client.errors import BadArgument

NEEDED = "a picture needs matplotlib: pip install matplotlib==3.11.2"
SHOWN = {"p50": ("-", "o", 5.0), "p95": ("--", "s", 5.0), "p99": (":", "o", 10.0)}  # line, marker, its size


def check_matplotlib() -> None:
    """Raises BadArgument now rather than after an hour of load."""
    try:
        import matplotlib
    except ImportError as error:
        raise BadArgument(NEEDED) from error
    matplotlib.use("Agg")


def draw_results(documents: Sequence[Mapping[str, Any]], names: Sequence[str], out: Path) -> None:
    """Latency against throughput: a curve for each result and percentile, a point for each level."""
    check_matplotlib()
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    unit = "rtfx" if all(_all_have(document, "rtfx") for document in documents) else "requests_per_s"
    for number, (document, name) in enumerate(zip(documents, names, strict=True)):
        levels = [level for level in document["levels"] if level["figures"]["latency_s"]]
        across = [level["figures"][unit] for level in levels]
        for percent, (style, marker, size) in SHOWN.items():
            up = [level["figures"]["latency_s"][percent] for level in levels]
            label = f"{name} {percent}".strip()
            color = f"C{number}"
            inside = "none" if percent == "p99" else color  # on few requests it is the p95
            axes.plot(
                across, up, style, color=color, marker=marker, markersize=size, label=label,
                markerfacecolor=inside,
            )  # fmt: skip
            if percent == "p50":
                for level, x, y in zip(levels, across, up, strict=True):
                    axes.annotate(
                        f"{level['level']:g}", (x, y), xytext=(5, -13), textcoords="offset points", fontsize=9
                    )
    words = {"rtfx": "seconds of audio answered per second (RTFx)", "requests_per_s": "requests per second"}
    axes.set(xlabel=words[unit], ylabel="seconds from due to answered", yscale="log")
    axes.set_xlim(0, None)  # or a difference of a tenth fills the picture
    _write_seconds(axes)
    titles = [
        f"{name}: {_title(document)}" if name else _title(document)
        for document, name in zip(documents, names, strict=True)
    ]
    axes.set_title("\n".join(titles), fontsize=9)
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(out, dpi=130)
    pyplot.close(figure)


def _write_seconds(axes: Any) -> None:
    """Plain numbers along a logarithmic axis, a decade at the least: 0.5, 1, 2, 5, not powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_ylim()
    if high < 10 * low:
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / 10**0.5, middle * 10**0.5)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


Curve = tuple[str, Sequence[float], Sequence[float]]  # label, seconds, MiB


def draw_memory(curves: Sequence[Curve], events: Sequence[tuple[float, str]], out: Path) -> None:
    """MiB over minutes, a line for each process; the events are marks along the time."""
    check_matplotlib()
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    for label, seconds, mebibytes in curves:
        axes.plot([moment / 60 for moment in seconds], mebibytes, label=label, linewidth=1.2)
    kinds = list(dict.fromkeys(kind for _, kind in events))
    for number, kind in enumerate(kinds):
        moments = [moment / 60 for moment, found in events if found == kind]
        height = [-0.02 - 0.025 * number] * len(moments)
        axes.plot(moments, height, "|", color=f"C{number}", label=kind, clip_on=False,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set(ylabel="resident memory, MiB", ylim=(0, None))
    axes.set_xlabel("minutes", labelpad=4)
    axes.tick_params(axis="x", pad=6 + 6.5 * len(kinds))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(out, dpi=130)
    pyplot.close(figure)


def _all_have(document: Mapping[str, Any], key: str) -> bool:
    return all(level["figures"][key] is not None for level in document["levels"])


def _title(document: Mapping[str, Any]) -> str:
    axis = "requests under way" if document["kind"] == "closed loop" else "requests a second"
    here = document["client_machine"]
    return (
        f"{document['kind']}, points: {axis} · {model_line(document['server'])} · {here['cpu']},"
        f" {here['cpus']} cores · {document['started_at'][:10]}"
    )
