"""Problems with known answers: whether the meta-learning algorithms learn what their papers say they learn."""
