"""Settings: flags before environment before file before defaults; faults with file, line and what was expected."""

import os
from pathlib import Path

import pytest

from adapters.settings import Settings, SettingsError, load, unknown_variables


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, short_tmp: Path) -> None:
    """Nothing of the user's: an empty configuration and data folder."""
    for name in list(os.environ):
        if name.startswith("AGENTTOWER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_tmp / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(short_tmp / "data"))


def write(short_tmp: Path, text: str) -> Path:
    file = short_tmp / "config" / "agenttower" / "agenttower.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def problems(flags: dict[str, object] | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(flags)
    return caught.value.problems


def test_defaults(short_tmp: Path) -> None:
    settings = load()
    home = short_tmp / "data" / "agenttower"
    assert (settings.home, settings.node, settings.nats_url) == (home, "local", None)
    assert settings.database_url == f"sqlite:///{home}/tower.sqlite"
    assert (settings.http, settings.http_host, settings.http_port) == ("127.0.0.1:7700", "127.0.0.1", 7700)
    assert settings.tmux_socket == home / "tmux.sock"
    assert (settings.launch_settle, settings.restart_backoff) == (0.5, 1.0)
    assert (settings.pane_log_max_mb, settings.pane_log_days) == (16, 14)
    assert (settings.execution_output_max_mb, settings.output_max_mb) == (64, 1024)
    assert settings.nats_staging == "memory"
    assert settings.config_dir == short_tmp / "config" / "agenttower"


def test_what_depends_on_the_home_follows_it(short_tmp: Path) -> None:
    settings = load({"home": str(short_tmp / "x")})
    assert settings.database_url == f"sqlite:///{short_tmp}/x/tower.sqlite"
    assert settings.tmux_socket == short_tmp / "x" / "tmux.sock"


def test_order_of_weight(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(short_tmp, "node: file\nhttp: 127.0.0.1:1\nlaunch_settle: 3\n")
    monkeypatch.setenv("AGENTTOWER_NODE", "environment")
    monkeypatch.setenv("AGENTTOWER_HTTP", "127.0.0.1:2")
    settings = load({"http": "127.0.0.1:3", "database_url": None})
    assert (settings.launch_settle, settings.node, settings.http_port) == (3, "environment", 3)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTOWER_NODE", "")
    assert load().node == "local"


def test_a_tilde_and_a_relative_path(monkeypatch: pytest.MonkeyPatch, short_tmp: Path) -> None:
    monkeypatch.setenv("HOME", str(short_tmp))
    assert load({"home": "~/tower"}).home == short_tmp / "tower"
    monkeypatch.chdir(short_tmp)
    assert load({"home": "tower"}).home == Path.cwd() / "tower"


def test_without_load_no_file_is_read(short_tmp: Path) -> None:
    write(short_tmp, "node: file\n")
    assert Settings().node == "local"


def test_an_empty_file_is_fine(short_tmp: Path) -> None:
    write(short_tmp, "# nothing yet\n")
    assert load().node == "local"


def test_a_fault_names_flag_variable_or_line(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(short_tmp, "# settings\nlaunch_settle: soon\n")
    monkeypatch.setenv("AGENTTOWER_NODE", "a b")
    found = problems({"http": "7700"})
    assert found == (
        "AGENTTOWER_NODE: expected 1 to 32 characters of A-Z a-z 0-9 _ -, not 'a b'",
        "--http: expected address:port such as 127.0.0.1:7700 (port 0: any free one), not '7700'",
        (
            f"{file}:2: launch_settle: expected seconds from 0 to 25 after which a launched command counts as alive, "
            "not 'soon'"
        ),
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("node: a\nlaunch_setle: 1\n", 2, "launch_setle is no setting; did you mean launch_settle?"),
        ("zzz: 1\n", 1, "zzz is no setting; known are background_sessions, bundle_prefixes, "),
        ("node: a\nhttp: 127.0.0.1:1\nnode: b\n", 3, "node stands here again, first on line 1"),
        ("- node\n", 1, "expected lines of `setting: value`"),
        ("node: [a\n", 2, "not YAML: "),
        ("node: 7\n", 1, "node: expected 1 to 32 characters"),
        ("http: 127.0.0.1:70000\n", 1, "http: expected address:port"),
        ("log_format: xml\n", 1, "log_format: expected auto"),
        ("bundle_prefixes: [a]\n", 1, "bundle_prefixes: expected beginnings of bundle URIs and the folders"),
    ],
)
def test_a_fault_of_the_file_names_its_line(short_tmp: Path, text: str, line: int, said: str) -> None:
    file = write(short_tmp, text)
    (found,) = problems()
    assert found.startswith(f"{file}:{line}: {said}")


BACKGROUND = """\
background_sessions:
  - name: one
    bundle: b
    triggers:
      - type: manual
  - name: two
    bundle: b
    pool_size: 0
    triggers:
      - {type: session_event, config: {event_names: [work]}}
"""
RIGHT = BACKGROUND.replace("size: 0", "size: 1").replace("[work]", "['work:*']")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (BACKGROUND, 8, "background_sessions[1].pool_size: a whole number from 1 to 100 was expected, not 0"),
        (BACKGROUND.replace("size: 0", "size: 1"), 10, "background_sessions[1].triggers[0].config.event_names:"),
        (RIGHT.replace("name: two", "name: one"), 6, "background_sessions[1].name: one is there twice"),
        ("background_sessions:\n  - name: one\n    triggers: []\n", 2, "background_sessions[0].bundle: is missing"),
        ("node: a\nbackground_sessions: {name: one}\n", 2, "background_sessions: a list was expected, not {"),
    ],
)
def test_a_fault_of_a_background_session_names_its_line_and_field(
    short_tmp: Path, text: str, line: int, said: str
) -> None:
    file = write(short_tmp, text)
    (found,) = problems()
    assert found.startswith(f"{file}:{line}: {said}")


def test_background_sessions_as_yaml_and_as_json(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(short_tmp, "background_sessions: [{name: one, bundle: b, triggers: [{type: manual}]}]\n")
    one = {"name": "one", "bundle": "b", "triggers": [{"type": "manual"}]}
    assert load().background_sessions == (one,)
    monkeypatch.setenv("AGENTTOWER_BACKGROUND_SESSIONS", '[{"name": "two", "bundle": "b"}]')
    (found,) = problems()
    assert found.startswith("AGENTTOWER_BACKGROUND_SESSIONS: expected background sessions")


def test_bundles_and_prefixes_as_text_and_as_yaml(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(short_tmp, "bundles: [/a, 'git+https://h/o/r@main']\nbundle_prefixes: {'git+https://h/': /mirror}\n")
    found = load()
    assert found.bundles == ("/a", "git+https://h/o/r@main")
    assert found.bundle_prefixes == {"git+https://h/": Path("/mirror")}
    monkeypatch.setenv("AGENTTOWER_BUNDLES", "/b, /c")
    monkeypatch.setenv("AGENTTOWER_BUNDLE_PREFIXES", "git+https://h/=/mirror,git+ssh://g@h/=/other")
    found = load()
    assert found.bundles == ("/b", "/c")
    assert found.bundle_prefixes == {"git+https://h/": Path("/mirror"), "git+ssh://g@h/": Path("/other")}


@pytest.mark.parametrize("key", ["nats_url", "nats_answers_url", "database_url"])
def test_a_fault_never_shows_what_may_hold_a_password(short_tmp: Path, key: str) -> None:
    write(short_tmp, f"{key}: gopher://me:secret-word@host\n")
    (found,) = problems()
    assert f": {key}: expected" in found
    assert "secret-word" not in found


def test_a_socket_path_that_is_too_long(short_tmp: Path) -> None:
    (found,) = problems({"home": f"/tmp/{'x' * 100}"})
    assert "shorter than 100 bytes" in found


@pytest.mark.parametrize(
    "url", ["sqlite:////tmp/x", "postgresql://a:b@c/d", "postgres://a@b/c", "postgresql+psycopg://a:b@c:1/d"]
)
def test_database_urls(url: str) -> None:
    assert load({"database_url": url}).database_url == url


def test_addresses() -> None:
    settings = load({"http": "[::1]:0"})
    assert (settings.http_host, settings.http_port) == ("::1", 0)


def test_unknown_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTTOWER_DATABSE_URL", "x")
    assert unknown_variables() == ["AGENTTOWER_DATABSE_URL is no setting; did you mean AGENTTOWER_DATABASE_URL?"]
