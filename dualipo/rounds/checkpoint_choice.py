"""Chooses among the checkpoints of a refresh by held-out labels that no other decision reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from dualipo.config import Config
from dualipo.critic.asks import Clips
from dualipo.critic.models.chat import ChatCritic
from dualipo.evaluation import refresh_gate
from dualipo.rounds import gating
from dualipo.rounds.gating import Label
from dualipo.training import early_stop
from dualipo.training.loop import Metrics

SILENT = 1e9  # nats: the loss of a critic that answers nothing, finite so that it can be stored


@dataclass(frozen=True)
class HeldOutWatch(early_stop.Watch):
    """Measures a critic in training by its log-loss on held-out labels; the smallest is best.

    As in the gate, its leans are scaled first: a critic grows surer with every step, and that alone
    is neither better nor worse.
    """

    critic: ChatCritic
    labels: Sequence[Label]
    clips: Clips
    config: Config

    @property
    def every(self) -> int:
        """Return the number of steps between two measurements."""
        settings = self.config.refresh.srpo
        return max(1, settings.max_train_steps // max(1, settings.num_choices))

    @property
    def patience(self) -> int:
        """Return more than there are measurements: they choose, and never end the training."""
        return self.config.refresh.srpo.max_train_steps + 1

    def measure(self) -> Metrics:
        """Return the log-loss and the accuracy on the labels that the critic answers."""
        self.critic.module.eval()
        leans = gating.leans(
            self.critic, self.labels, clips=self.clips, settings=self.config.critic
        )
        self.critic.module.train()
        if not leans:
            return {"held_out_loss": SILENT, "held_out_accuracy": 0.0}
        answered = list(leans.values())
        return {
            "held_out_loss": refresh_gate.mean_loss(answered),
            "held_out_accuracy": refresh_gate.accuracy(answered),
        }

    def score(self, measured: Metrics) -> tuple[float, ...]:
        """Return the negative log-loss."""
        return (-measured["held_out_loss"],)
