"""The sources of pairs that a refresh learns from, a file each (`refresh.sources`).

| file | pairs | who says which clip is better |
|---|---|---|
| `votes` | the round's contests, further pairs, pairs of earlier rounds | the critic's own votes |
| `constructed` | a clip and its damaged copy, a clip and one of another caption | the damage |
| `newer` | a monitor prompt's clips of the newest generator and of the one before | their age |
| `audit` | the audit's pairs of prompts that are for learning | the annotators |

Each file has one function from a run's artifacts to pairs. `gathering` calls them.
"""
