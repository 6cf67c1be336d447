"""What `agenttower doctor` says of the bundles that a tower is to prepare."""

from pathlib import Path

from tests.integration.cli.conftest import Done, agenttower


def _doctor(home: Path, *bundles: str) -> tuple[Done, list[str]]:
    settings = home / "config" / "agenttower" / "agenttower.yaml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f"bundles: {list(bundles)}\n")
    done = agenttower(home / "home", "doctor", XDG_CONFIG_HOME=str(home / "config"))
    return done, [line for line in done.out.splitlines() if line[2:].startswith("bundles: ")]


def _write(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


def test_none_is_fine(short_tmp: Path) -> None:
    assert _doctor(short_tmp)[1] == ["✓ bundles: none to prepare at the start: setting `bundles`"]


def test_each_is_read_and_what_is_wrong_with_it_is_said(short_tmp: Path) -> None:
    good = _write(
        short_tmp / "good.yaml", "bundle: {name: good, version: 1.1.0}\nruntime: {kind: command, argv: [cat]}"
    )
    broken = _write(short_tmp / "broken.yaml", "bundle: {name: broken}\ntools: bash\n")
    lost = _write(short_tmp / "lost.yaml", "bundle: {name: lost}\nruntime: {kind: command, argv: [no-such-agent, -p]}")
    odd = _write(short_tmp / "odd.yaml", "bundle: {name: odd}\ncolour: green\n")
    done, lines = _doctor(short_tmp, good, broken, lost, odd, str(short_tmp / "gone.yaml"))
    assert done.code == 0, "a tower starts without them"
    assert lines[0] == "✓ bundles: good 1.1.0, runs on cat"
    assert lines[1].startswith(f"! bundles: {broken}:2: tools: ")
    assert lines[1].endswith(f": nothing is spawned from {broken} until it is corrected")
    said = "! bundles: lost 1.0.0: there is no program no-such-agent on this PATH"
    assert lines[2] == f"{said}: install no-such-agent, or correct argv of its runtime"
    assert lines[3].startswith("! bundles: odd 1.0.0: ") and "colour" in lines[3]
    assert "gone.yaml" in lines[4] and lines[4].startswith("! ")


def test_a_repository_is_not_asked_for(short_tmp: Path) -> None:
    lines = _doctor(short_tmp, "git+https://127.0.0.1:9/o/r@main")[1]
    assert lines == ["✓ bundles: git+https://127.0.0.1:9/o/r@main: fetched at the start"]
