"""The command line: a module for each verb, or for a few that belong together."""
