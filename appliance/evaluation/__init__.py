"""Measure what the appliance does against what is known to have happened."""
