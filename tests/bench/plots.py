"""Distributions as pictures: for each value, the share that does not exceed it."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from tests.bench.figures import Figures

mpl.use("Agg")


def draw(figures: Figures, folder: Path) -> list[Path]:
    """One PNG for each distribution."""
    drawn = []
    for title, series in figures.distributions.items():
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        for of, values in series.items():
            axes.plot(
                values, [(rank + 1) / len(values) for rank in range(len(values))], label=of, drawstyle="steps-post"
            )
        axes.set(title=title, xlabel=title.rpartition(", ")[2], ylabel="share", ylim=(0, 1), xscale="log")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        path = folder / f"{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        drawn.append(path)
    return drawn
