"""Meta-learning: recorded machines → episodes → outer loop → a prior that every machine starts from."""
