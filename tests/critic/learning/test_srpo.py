import math
from dataclasses import replace

import pytest
import torch

from dualipo.config import Srpo
from dualipo.critic import judge, reasoning, vote_counts
from dualipo.critic.asks import Item, asks_about
from dualipo.critic.learning import preference, srpo
from dualipo.critic.models.vila import Vila
from dualipo.records import Vote
from tests.critic.conftest import SETTINGS, seed_of, shade

ITEMS = [
    Item(f"x{n}", "a lamp", (f"shade{200 + n}", f"shade{20 + n}"), ("motion",)) for n in range(4)
]
TRAIN = Srpo(
    learning_rate=1e-3,
    max_train_steps=4,
    train_batch_size=4,
    lr_warmup_steps=0,
    seed_anchor_start=0.25,
    seed_anchor_share=0.25,
    nll_weight=0,
)
LONG = TRAIN.model_copy(update={"max_train_steps": 40, "pce_filter": False, "beta_critic": 1.0})


def votes(item="x0", ab="aaab", ba="aaaa"):
    names = {"a": "a", "b": "b", "t": "tie", "-": "abstain"}
    return [
        Vote(item, "motion", order, draw, names[letter], -1.0, said(order, letter, draw))
        for order, letters in (("ab", ab), ("ba", ba))
        for draw, letter in enumerate(letters)
    ]


def said(order, letter, draw):
    """Write a path about the clips as they are shown; `letter` is about the item's own A and B."""
    shown = {"a": "A", "b": "B", "t": "tie"} if order == "ab" else {"a": "B", "b": "A", "t": "tie"}
    if letter == "-":
        return "unreadable"
    return f"A: light\nB: dark {draw}\n<verdict>{shown[letter]}</verdict>"


def text(label):
    return f"A: light\nB: dark\n<verdict>{label}</verdict>"


def pool_of(items=ITEMS):
    judged = []
    for number, (ask, label) in enumerate(
        (ask, "A" if ask.order == "ab" else "B") for ask in asks_about(items)
    ):
        other = "B" if label == "A" else "A"
        winner = text(label).replace("light", "light " * (1 + number % 3))
        judged.append(srpo.Judged(ask, label.lower(), (winner, text(label)), text(other)))
    return srpo.Pool(tuple(judged), {})


def test_pool_pairs_paths_of_the_same_question_and_counts_what_it_drops():
    everything = votes() + votes("x1", "aabb", "aabb") + votes("x2", "----", "----")
    everything += votes("x3", "tttt", "ttta")
    pool = srpo.build_pool(everything, ITEMS, keep_vote_share=0.75)
    assert pool.dropped == {"uncertain": 1, "unreadable": 1, "tie": 1}
    first, second = pool.judged
    assert first.verdict == "a" and first.loser == said("ab", "b", 3)
    assert first.winners == tuple(said("ab", "a", draw) for draw in range(3))
    turned = srpo.build_pool(votes(), ITEMS, keep_vote_share=0.75, turned={"x0"})
    assert not turned.judged and turned.dropped == {"turned by its caption": 1}
    lopsided = srpo.build_pool(votes(ab="bbbb", ba="aaaa"), ITEMS, keep_vote_share=0.5)
    assert lopsided.dropped == {"tie": 1}
    lopsided = srpo.build_pool(votes(ab="t---", ba="aaaa"), ITEMS, keep_vote_share=0.5)
    assert lopsided.dropped == {"one order": 1} and len(lopsided.judged) == 1
    # Shown in the other order the same majority is "B", and nobody said otherwise.
    assert (second.verdict, second.ask.clip_hashes) == ("b", ("shade20", "shade200"))
    assert second.loser == reasoning.swap(second.winners[0])


def test_a_unanimous_question_loses_by_the_same_words_about_the_other_clip():
    def pool(keep_unanimous):
        return srpo.build_pool(
            votes(ab="aaaa"), ITEMS, keep_vote_share=0.75, keep_unanimous=keep_unanimous
        )

    first, second = pool(True).judged
    assert first.loser == "A: dark 0\nB: light\n<verdict>B</verdict>"
    assert reasoning.swap(second.loser) == second.winners[0]
    assert pool(False).dropped == {"unanimous": 2} and not pool(False).judged


def test_a_question_on_which_an_earlier_critic_disagreed_is_not_learned_from():
    def pool(*earlier):
        return srpo.build_pool(votes(), ITEMS, keep_vote_share=0.75, earlier=earlier)

    agreed = pool(votes(ab="aaaa"), votes(ab="tttt", ba="tttt"), votes("x1", "bbbb", "bbbb"))
    assert len(agreed.judged) == 2 and not agreed.dropped  # a tie contradicts nobody
    assert pool(votes(), votes(ab="bbbb", ba="bbba")).dropped == {"conflict": 1}


def refresh(vlm, folder, load_sft, *, pool=None, settings=TRAIN, **others):
    return srpo.refresh(
        vlm,
        pool or pool_of(),
        load_sft=load_sft,
        clips=shade,
        settings=settings,
        batch_size=8,
        checkpoint_folder=folder,
        seed=0,
        **{"anchors": (), **others},
    )


def test_fault_32_the_start_critic_against_itself_keeps_nothing(taught, taught_folder, tmp_path):
    before = taught.hash()
    outcome = refresh(taught, tmp_path, lambda: Vila.load(taught_folder, settings=SETTINGS))
    assert (outcome.status, outcome.mean_pce, outcome.kept) == ("nothing certain", 0.5, ())
    assert outcome.dropped == {"not certain": 8}
    assert taught.hash() == before


def test_fault_32_a_threshold_of_one_and_an_empty_pool_keep_nothing(taught, vila, tmp_path):
    everything = replace(pool_of(), judged=())
    assert refresh(taught, tmp_path, lambda: vila, pool=everything).mean_pce is None
    strict = TRAIN.model_copy(update={"pce_threshold": 1.0})
    assert refresh(taught, tmp_path, lambda: vila, settings=strict).status == "nothing certain"


def sft(taught_folder):
    """Load the taught critic with its weights moved a little, to stand for the SFT critic."""
    vila = Vila.load(taught_folder, settings=SETTINGS)
    generator = torch.Generator().manual_seed(3)
    for weight in vila.module.llm.parameters():
        weight.data.add_(0.01 * torch.randn(weight.shape, generator=generator))
    return vila


def test_a_refresh_starts_at_mean_pce_ln_2_and_moves_to_the_winners(
    taught, taught_folder, tmp_path
):
    steps = []
    outcome = refresh(
        taught,
        tmp_path,
        lambda: sft(taught_folder),
        on_step=lambda step, metrics: steps.append(metrics),
    )
    assert outcome.status == "trained"
    assert 0 < len(outcome.kept) < 8 and len(outcome.kept) + outcome.dropped["not certain"] == 8
    weights = [pair.weight for pair in outcome.kept]
    assert all(0.5 < weight < 1.0 for weight in weights)
    first = steps[0]["loss"] / math.log(2)
    assert min(weights) - 1e-4 <= first <= max(weights) + 1e-4
    assert steps[0]["margin"] == pytest.approx(0.0, abs=1e-3)
    assert outcome.metrics["margin"] > 0


@pytest.mark.slow
def test_judgements_of_one_order_alone_teach_no_position(taught, taught_folder, tmp_path):
    # All winners say A, like those of a critic that leans to the first clip.
    items = [
        replace(item, clip_hashes=item.clip_hashes[::-1]) for item in ITEMS
    ]  # the darker first
    first = tuple(srpo.Judged(ask, "a", (text("A"),), text("B")) for ask in asks_about(items)[::2])
    refresh(
        taught,
        tmp_path,
        lambda: sft(taught_folder),
        pool=srpo.Pool(first, {}),
        settings=LONG,
    )
    drawn = judge.confirm(taught, items, clips=shade, settings=SETTINGS, seed_of=seed_of)
    shown = [vote_counts.as_shown(vote) for vote in drawn]
    assert abs(shown.count("first") - shown.count("second")) <= len(shown) / 8


def test_ablations_keep_all_and_weigh_alike(taught, taught_folder, tmp_path):
    settings = TRAIN.model_copy(update={"pce_filter": False, "srpo_weight": False})
    losses = []
    outcome = refresh(
        taught,
        tmp_path,
        lambda: sft(taught_folder),
        settings=settings,
        anchors=[preference.PathPair(asks_about(ITEMS)[0], text("A"), text("B"))],
        on_step=lambda step, metrics: losses.append(metrics["loss"]),
    )
    assert len(outcome.kept) == 8 and {pair.weight for pair in outcome.kept} == {1.0}
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)


def test_the_winners_likelihood_is_a_second_term_and_further_pairs_weigh_1(
    taught, taught_folder, tmp_path
):
    settings = TRAIN.model_copy(update={"nll_weight": 0.5, "max_train_steps": 1})
    further = [preference.PathPair(asks_about(ITEMS)[0], text("A"), text("B"))]
    first = []
    outcome = refresh(
        taught,
        tmp_path,
        lambda: sft(taught_folder),
        pool=srpo.Pool((), {"tie": 3}),
        further=further,
        settings=settings,
        on_step=lambda step, metrics: first.append(metrics),
    )
    assert outcome.status == "trained" and outcome.num_pairs == 1 and not outcome.kept
    [metrics] = first
    assert metrics["loss"] == pytest.approx(math.log(2) + 0.5 * metrics["winner_nll"], abs=1e-4)


def test_too_few_pairs_teach_nothing(taught, taught_folder, tmp_path):
    before = taught.hash()
    outcome = refresh(taught, tmp_path, lambda: sft(taught_folder), min_pairs=9)
    assert outcome.status == "too few" and 0 < outcome.num_pairs < 9
    assert taught.hash() == before


def test_a_repeated_refresh_gives_the_same_weights(taught_folder, tmp_path):
    def run(folder):
        vila = Vila.load(taught_folder, settings=SETTINGS)
        refresh(vila, tmp_path / folder, lambda: sft(taught_folder))
        return vila.hash()

    assert run("one") == run("two") == run("one")  # the last from its final checkpoint


@pytest.mark.slow
def test_fault_33_adversarial_labels_lower_what_the_round_will_look_at(
    taught, taught_folder, tmp_path
):
    def share_of_brighter():
        drawn = judge.confirm(taught, ITEMS, clips=shade, settings=SETTINGS, seed_of=seed_of)
        return sum(vote.outcome == "a" for vote in drawn) / len(drawn)

    before = share_of_brighter()
    wrong = tuple(
        replace(
            judged,
            verdict=reasoning.swap_verdict(judged.verdict),
            winners=(judged.loser,),
            loser=judged.winners[0],
        )
        for judged in pool_of().judged
    )
    refresh(
        taught,
        tmp_path,
        lambda: sft(taught_folder),
        pool=srpo.Pool(wrong, {}),
        settings=LONG,
    )
    assert share_of_brighter() < before
