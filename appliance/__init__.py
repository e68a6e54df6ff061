"""Anomaly detection for machines that learns from a handful of labelled events, on the box."""

__version__ = "0.1.0"
