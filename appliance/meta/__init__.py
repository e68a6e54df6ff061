"""Meta-learning: priors that adapt to a machine from a handful of labels. Beside baselines the only home of torch."""
