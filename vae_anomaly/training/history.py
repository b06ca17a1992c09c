"""Training history."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["History"]


@dataclass
class History:
    """Losses of each validation interval, in nats per row, averaged over members.

    Attributes
    ----------
    step : list of int
        Gradient steps at the end of each interval.
    loss, reconstruction, kl : list of float
        Means over the training batches of an interval;
        ``loss = reconstruction + beta * kl``. With `contamination`, means over the
        rows that are not trimmed.
    held_out : list of float
        Loss on the validation rows, used for early stopping; empty where there are
        too few rows to hold any out.
    """

    step: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    reconstruction: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)

    def add(self, step: int, loss: float, reconstruction: float, kl: float) -> None:
        """Append the training losses of one validation interval."""
        self.step.append(step)
        self.loss.append(loss)
        self.reconstruction.append(reconstruction)
        self.kl.append(kl)

    def describe(self, unit: str = "row") -> str:
        """Return the loss of the best weights as text.

        Examples
        --------
        >>> History([100, 200], [9.0, 7.0], [8.0, 6.0], [1.0, 1.0], [9.5, 9.8]).describe()
        'best loss on held-out rows 9.5 nats per row, after 100 steps'
        """
        if not self.held_out:
            return f"loss {self.loss[-1]:.4g} nats per {unit}"
        best = self.held_out.index(min(self.held_out))
        return (
            f"best loss on held-out {unit}s {self.held_out[best]:.4g} nats per {unit}, "
            f"after {self.step[best]:,} steps"
        )
