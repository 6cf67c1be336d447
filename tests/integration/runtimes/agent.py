"""A program like the command line of an agent, standard library only: the instruction on standard input, or as the last
argument, and each line of it is done in turn. A line that is no order is answered.

    say TEXT        print it          warn TEXT       print it on standard error
    words N SECONDS print N words, so many seconds between them
    wait SECONDS    fail CODE         hang            die SIGNAL
    ignore-term     leave             leave-far       print the pid of a child that stays; far: of another session
    flood BYTES     half              print the first half of a character
    env NAME        cwd               pid
    mute            close standard output, and go on
"""

import os
import signal
import subprocess
import sys
import threading

CHILD = ["sleep", "1000"]
BLOCK = ("0123456789abcdef" * 4095).encode() + b"\n" * 16


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def words(count: int, seconds: float) -> None:
    for number in range(count):
        say(f"word {number}")
        pause(seconds)


def hang() -> None:
    say("hanging")
    while True:
        signal.pause()


def leave(far: bool) -> None:
    # It holds the output open.
    child = subprocess.Popen(CHILD, start_new_session=far)
    say(str(child.pid))


def flood(size: int) -> None:
    while size > 0:
        size -= os.write(1, BLOCK[:size])


def obey(line: str) -> None:
    order, _, rest = line.partition(" ")
    match order:
        case "say":
            say(rest)
        case "warn":
            sys.stderr.write(rest + "\n")
        case "words":
            count, seconds = rest.split()
            words(int(count), float(seconds))
        case "wait":
            pause(float(rest))
        case "fail":
            sys.exit(int(rest))
        case "hang":
            hang()
        case "die":
            os.kill(os.getpid(), int(rest))
        case "ignore-term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "leave" | "leave-far":
            leave(order == "leave-far")
        case "flood":
            flood(int(rest))
        case "half":
            os.write(1, "é".encode()[:1])
        case "env":
            say(os.environ.get(rest, "(unset)"))
        case "pid":
            say(str(os.getpid()))
        case "cwd":
            say(os.getcwd())
        case "mute":
            os.close(1)
        case _:
            say(f"you said: {line}")


if __name__ == "__main__":
    instruction = sys.argv[-1] if len(sys.argv) > 1 else sys.stdin.read()
    for each in instruction.splitlines():
        obey(each)
