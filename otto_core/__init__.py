"""The top layer of Otto, where a run lives: lifecycle, worktrees, agents, journal and command line."""
