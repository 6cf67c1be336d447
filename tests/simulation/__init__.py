"""Whole towers in seeded worlds: the real writer, effects and recovery over doubles of everything outside.

`make simulate SEED=7` runs one world, `MINUTES=30` searches. One `random.Random(seed)` decides all: what is asked, when
it arrives, which calls fail before their effect or lose their answer after it, where a tower is killed, in which order
tasks run. Time is virtual, nothing else is shared, so a seed is a story that can be told again.

How to read a failure:

1. It ends with `make simulate SEED=…`. Add `ARGS=--verbose`: each line is a moment of virtual time, the process that
   acts (`t1` is the first tower started, `world` is everybody else), the port call with its result or its fault, and in
   between what the tower logs.
2. The first line says what does not hold; `model.py` and `settled.py` are where that is checked, and say why it must.
   *Safety* is checked after every event and every answer, while faults are on. *Liveness* is checked at the end: faults
   are off, and everything must settle.
3. Search the trace for the id that the message names, and read upwards from the end.
4. A fix is in the product. A double is changed only when the contract suite (`tests/contract/`) shows that the real
   part behaves otherwise.

`bugs.py` plants bugs that the worlds must find; a change to a double or to a check that blinds them fails there.
"""
