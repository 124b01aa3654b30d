"""The settings of what decides between rounds: when the critic is refreshed, and when to stop."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualipo.config.critic import Critic
from dualipo.config.fields import MAX_COUNT, Group
from dualipo.config.learning import Srpo

# What of VBench is scored in every round: it needs few prompts, and tells motion from stillness.
SUITE_DIMENSIONS = (
    *("subject_consistency", "background_consistency", "motion_smoothness", "dynamic_degree"),
    *("aesthetic_quality", "imaging_quality", "overall_consistency"),
)


class Refresh(Group):
    """The rules for when the critic is refreshed, and when the rounds should end (METHOD.md 5)."""

    update_critic: bool = Field(
        True,
        description="Whether a stale critic is refreshed; false never does, which is an ablation.",
    )
    force_rounds: tuple[Annotated[int, Field(ge=0, le=10_000)], ...] = Field(
        (),
        description="The rounds, counted from 0, in which the critic is refreshed whatever the "
        "measurements say.",
    )
    max_audit_drop: float = Field(
        0.03,
        ge=0,
        le=1,
        description="The largest fall, from one round to the next, of the critic's accuracy on "
        "the audit's fresh labels; a larger fall refreshes it.",
    )
    max_evaluation_drop: float = Field(
        0.3,
        ge=0,
        le=100,
        description="The largest distance under the best evaluation total, in points of 100; two "
        "rounds in a row further below refresh the critic.",
    )
    min_vote_share: float = Field(
        0.7,
        ge=0,
        le=1,
        description="The smallest mean share of votes that agree; a smaller one refreshes the "
        "critic.",
    )
    max_implicit_accuracy: float = Field(
        0.95,
        ge=0,
        le=1,
        description="The share of preferences that the trained generator fits, above which a "
        "rising error on winners refreshes the critic.",
    )
    stop_win_rate: float = Field(
        0.52,
        ge=0,
        le=1,
        description="The win rate against the round before under which the rounds should end.",
    )
    stop_gain: float = Field(
        0.1,
        ge=-100,
        le=100,
        description="The gain of the evaluation total in a round, in points of 100, under which "
        "the rounds should end.",
    )
    stop_early: bool = Field(
        False,
        description="Whether the run ends when the stopping rule says so; false only reports it.",
    )
    max_dynamics_drop: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The largest fall of the clips' dynamic degree against the base, as a share of "
        "the base's: a larger one that is shown by its interval refreshes the critic, and is a "
        "reason to stop; null only raises the alarm.",
    )
    sources: tuple[Literal["votes", "constructed", "newer", "audit"], ...] = Field(
        ("votes",),
        min_length=1,
        description='The sources of pairs that a refresh learns from: "votes" are judgements of '
        'the critic itself, "constructed" damages clips, "newer" prefers clips of the newest '
        'generator where labels agree, and "audit" takes half of the labels of the audit.',
    )
    min_pairs: int = Field(
        100,
        ge=1,
        le=MAX_COUNT,
        description="The smallest number of pairs of all sources from which a refresh learns; with "
        "fewer the old critic stays.",
    )
    num_pool_rounds: int = Field(
        3,
        ge=1,
        le=10_000,
        description="The number of rounds, with the present one, whose judgements the source "
        '"votes" has; more ask a changed critic more often.',
    )
    num_constructed: int = Field(
        480,
        ge=0,
        le=MAX_COUNT,
        description='The number of pairs that the source "constructed" makes in a refresh.',
    )
    newer_min_precision: float = Field(
        0.65,
        ge=0,
        le=1,
        description="The share of fresh labels that must prefer the newest generator in a "
        'dimension for the source "newer" to have pairs of it; a larger one is stricter.',
    )
    gate_margin: float = Field(
        0.04,
        gt=0,
        le=1,
        description="The fall of the critic's accuracy that the gate of a refresh should be able "
        "to see; a smaller one takes more labels, and the run says how many.",
    )
    serve_if_equal: bool = Field(
        True,
        description="Whether a refreshed critic serves where the gate sees no difference from the "
        "old one; false keeps the old one and saves the second attempt.",
    )
    srpo: Srpo = Srpo()


class HeldOutJudge(Critic):
    """A judge that never trains, in a table `[[monitor.judges]]`; its other keys are a critic's."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,31}$",
        description="The judge's name in tables: small letters, digits and hyphens.",
    )
    num_votes: int = Field(
        2,
        ge=2,
        multiple_of=2,
        le=10_000,
        description="The number of reasoning paths on a pair in each dimension, half of them with "
        "the clips swapped; more give steadier verdicts and take longer.",
    )
    stops_run: bool = Field(
        False,
        description="Whether the run ends where this judge is shown to prefer the base.",
    )

    @model_validator(mode="after")
    def _is_there_already(self) -> "HeldOutJudge":
        if self.serving.command:
            raise ValueError(
                "it never trains, so it needs no serving for each version. Start its server, and "
                'set backend = "server"'
            )
        if self.backend == "reward_head":
            raise ValueError(
                'its backend is "reward_head", which is trained on the seed. Use a folder, a '
                "server or a table of scores"
            )
        return self


class Monitor(Group):
    """The measurements of a round: fresh audit labels, test clips, and the critic's accuracy."""

    clip_metrics: Literal["off", "blocks", "dis"] = Field(
        "off",
        description="Whether motion, flicker, sharpness and the like are measured from the pixels "
        'of every version\'s monitor clips, and alarms are raised: "blocks" (the default for '
        'captions of a file) finds motion with no further package, "dis" with OpenCV\'s dense '
        'flow, and "off" measures nothing.',
    )

    judges: tuple[HeldOutJudge, ...] = Field(
        (),
        description="Judges that never train, each in a table [[monitor.judges]] with a name and "
        "the keys of [critic] (backend, pretrained_model_name_or_path, server.base_url and so "
        "on): they compare every version with the base on the test prompts, for people; "
        "stops_run = true lets one end the run where it prefers the base.",
    )
    audit: Literal["simulated", "people"] = Field(
        "simulated",
        description='Who labels the newest generator\'s clips in each round: "simulated" '
        'annotators of the embedded world, or "people", for whom the run stops with exit code 6 '
        "until `dualipo label --audit` has their answers.",
    )
    num_audit_labels: int = Field(
        48,
        ge=0,
        le=MAX_COUNT,
        description="The number of fresh labels in each round that audit the critic on the newest "
        "generator's clips; more measure more exactly, and 0 (the default for captions of a file) "
        "skips the audit.",
    )
    num_test_clips: int = Field(
        1, ge=1, le=10_000, description="The number of clips that are sampled for each test prompt."
    )
    num_gallery_prompts: int = Field(
        6,
        ge=0,
        le=MAX_COUNT,
        description="The number of test prompts whose clips the report shows.",
    )
    num_accuracy_pairs: int = Field(
        240,
        ge=0,
        le=MAX_COUNT,
        description="The number of pairs, ordered by the embedded world's oracle, that measure "
        "the critic's accuracy for people alone; 0 (the default for captions of a file) skips it.",
    )
    min_oracle_gap: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The smallest difference of the oracle's scores between the clips of such a "
        "pair; a larger one makes the pairs easier.",
    )
    suite: Literal["none", "vbench", "world"] = Field(
        "none",
        description='The evaluation suite that scores every generator: "vbench" on its own '
        'prompts, "world" on the monitor prompts of the embedded world, by pixels and simulated '
        'people, or "none"; the refresh of the critic, the stopping rule and the choice of the '
        "best round read its total.",
    )
    suite_python: str | None = Field(
        None,
        description="The Python of the environment in which the suite is installed, which "
        "`dualipo vbench prepare` checks.",
    )
    suite_dimensions: tuple[str, ...] = Field(
        SUITE_DIMENSIONS,
        min_length=1,
        description="The dimensions of the suite that are scored in every round; their total "
        "compares within one run alone.",
    )
    suite_prompts: int = Field(
        100,
        ge=1,
        le=MAX_COUNT,
        description="The number of the suite's prompts that every generator samples, one clip "
        "each; more measure more exactly and take longer.",
    )
    suite_timeout: float = Field(
        3600.0,
        gt=0,
        le=1e7,
        description="The seconds after which the scoring of one dimension is stopped; it is then "
        "not measured.",
    )
