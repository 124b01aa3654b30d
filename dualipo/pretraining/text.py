"""Builds the embedded generator's tokenizer, of the captions' words, and its tiny UMT5.

Every word of the grammar is one piece of the Unigram vocabulary; any other text falls back to
single characters, so that a user's own caption is read badly rather than not at all.
"""

import string

from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

from dualipo.pretraining import settings
from dualipo.seeds import derive
from dualipo.world.corpus import caption

_WORD_SCORE, _CHARACTER_SCORE = -2.0, -12.0


def caption_words() -> list[str]:
    """List every word of the captions' grammar with its punctuation, sorted."""
    captions = (caption(derive(settings.SEED, "words", n)) for n in range(6000))
    return sorted({word for text in captions for word in text.split()})


def build_tokenizer() -> T5Tokenizer:
    """Build the tokenizer: pad 0, end 1, unknown 2, then words, then characters."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [("▁" + word, _WORD_SCORE) for word in caption_words()]
    characters = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    known = {piece for piece, _ in vocabulary}
    vocabulary += [(c, _CHARACTER_SCORE) for c in characters if c not in known]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0)


def build_text_encoder(tokenizer: T5Tokenizer) -> UMT5EncoderModel:
    """Build the untrained text encoder."""
    return UMT5EncoderModel(UMT5Config(vocab_size=len(tokenizer), **settings.TEXT_ENCODER))
