"""The rulebook: commands, decisions, events and state of one tower, without any input or output.

Read `tower.py` first: it composes the aggregates and routes each command to its decider.
"""
