"""Anomaly detection for machines that learns from a handful of labelled events, on the box."""

import os

__version__ = "0.1.0"

# Before numpy is imported: on matrices as small as ours a second BLAS thread spins more than it works, and the order in
# which threads add up must not change a score.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Before onnxruntime is imported: its official builds, from 1.29 on, keep a device id and report to their maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
