"""Meta-learning algorithms behind one interface, one a file: examples of a task in, parameters for it out."""
