"""Machines with physics and faults, for the demo and the tests: nothing in the live flow imports this package."""
