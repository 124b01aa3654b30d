"""The critic, which judges clips in words: the part of layer 2 that ranks and learns to rank.

Read the files of this folder first, then the room you need.

    vlm           the protocol between the judge and a model: query in, reasoning paths out
    reasoning     the grammar of a reasoning path: its questions, its renderer, its strict parser
    asks          items to judge, and the single questions about them
    judge         asks the questions and reads the answers as votes
    voting        counts votes and turns them into a judgement

    models/       the models that answer
      vila, transformers_vlm    models that run here, on one base: `chat`
      served, endpoint          a model behind an OpenAI-compatible server, asked over HTTP
      rewards, score_file       judges that give numbers and no reasons
      backends                  the setting `critic.backend` and the class it means
      templates, tokens         prompts as text, and as token ids
      frame_choice, vision      which frames of a clip are shown, and their pixels
      towers, projector, families   how VILA and transformers' models see
      prefixes, decode          many paths from one prefill of what their prompts share
      threads                   a small model runs on one thread
      loading, vila_files       reading and writing model folders

    learning/     how the critic learns
      warm_start, rewriting     reasoning traces from human labels; fine-tuning on them
      preference, srpo, certainty   DPO over reasoning paths, and the critic's refresh
      losses, batches           what they share
      reward_head               the baseline without words

    trust/        whether the critic may be trusted
      checks                    the numbers that a critic has to reach
      forced_choice, calibration, hostile   how they are measured
"""
