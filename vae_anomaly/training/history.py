"""What training leaves behind to be looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """Losses after each round of training, in nats a row, means over members.

    Attributes
    ----------
    step : list of int
        Gradient steps taken by the end of the round.
    loss, reconstruction, kl : list of float
        Over the round's batches; ``loss = reconstruction + beta * kl``. With
        `contamination` all losses are of the rows that are not trimmed.
    held_out : list of float
        Loss of rows that the members are stopped by instead of learning from them;
        empty where rows are too few.
    """

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    def add(self, step: int, loss: float, reconstruction: float, kl: float) -> None:
        """Note the training losses of one round."""
        self.step.append(step)
        self.loss.append(loss)
        self.reconstruction.append(reconstruction)
        self.kl.append(kl)

    def describe(self, unit: str = "row") -> str:
        """Tell the loss of the weights that were kept, in words.

        Examples
        --------
        >>> History([100, 200], [9.0, 7.0], [8.0, 6.0], [1.0, 1.0], [9.5, 9.8]).describe()
        'best loss on held-out rows 9.5 nats a row, after 100 steps'
        """
        if not self.held_out:
            return f"loss {self.loss[-1]:.4g} nats a {unit}"
        best = self.held_out.index(min(self.held_out))
        return (
            f"best loss on held-out {unit}s {self.held_out[best]:.4g} nats a {unit}, "
            f"after {self.step[best]:,} steps"
        )
