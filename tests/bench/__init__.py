"""Measures the whole tower on this machine, with a figure of plain nats-py of the same run beside each of its own.

`python -m tests.bench --help` lists the parts. Rates on a shared machine say little, ratios within one run say more:
every table therefore shows its baseline, and how busy the machine was with other work meanwhile.
"""
