"""Layer 2: the critic judges clips in words. Read `vlm` (what is asked and answered), `reasoning`
(the grammar), `judge` and `vote` (from paths to judgements), `warm_start` and `srpo` (how it
learns); `vila` is the model.
"""
