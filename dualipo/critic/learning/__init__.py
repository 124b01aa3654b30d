"""The critic's learning: warm start, DPO over reasoning paths, SRPO, and the reward head."""
