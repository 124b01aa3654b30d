"""Layer 2: the critic judges clips in words. Read in this order; each line is a file or a few.

what is asked      `vlm` (the protocol), `reasoning` (the grammar), `templates`, `asks`
from paths         `judge` asks and reads votes; `vote`, `forced_choice`, `calibration`
to judgements
who answers        `chat` (asked and trained alike) with `vila` and `transformers_vlm`; `server`
                   with `http`; `rewards`, numbers alone: `reward_head`, `score_file`;
                   `backends` chooses
what it sees       `frames`, `vision`; `towers` and `projector` (VILA), `families` (transformers)
judged once        `memory` (clips), `prefixes`, `decode`; `tokens`
how it learns      `warm_start`, `preference`, `srpo` with `certainty`; `losses`, `batches`
is it any good     `checks`, `hostile`
"""
