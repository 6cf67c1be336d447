"""Peers of the execution engine, each a program of its own that prints its figures as JSON on its last line.

They import nothing of ours: what they measure is the peer in its own process, as its users run it.
"""
