"""How the critic learns: warm start, DPO over reasoning paths, SRPO, and the reward head."""
