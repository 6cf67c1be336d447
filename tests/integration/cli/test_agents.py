"""Agents on the command line: adopted ones beside managed ones, and what is refused for them."""

from tests.integration.cli.conftest import Desk, columns


def own_pane(desk: Desk, session: str) -> str:
    return desk.tmux("new-session", "-d", "-P", "-F", "#{pane_id}", "-s", session, "sleep", "100000").strip()


def test_a_pane_is_found_adopted_and_listed_beside_the_managed_ones(desk: Desk) -> None:
    managed = desk.layout()["panes"][0]["pane_id"]
    pane = own_pane(desk, "found")
    desk.ok("container", "scan")
    unmanaged = {row[1]: row for row in columns(desk.ok("agent", "list", "--unmanaged").out)}
    assert (unmanaged[pane][0], unmanaged[pane][-1]) == ("host", "-")
    said = desk.ok("agent", "adopt", "host", pane, "--label", "reviewer", "--role", "slave")
    assert said.out.startswith(f"Pane {pane} is agent ")
    assert desk.ok("agent", "adopt", "host", pane, "--label", "x").out.endswith("called reviewer; it was before\n")
    (agent,) = desk.json("agent", "list", "--origin", "adopted")["items"]
    agents = {row[0]: row for row in columns(desk.ok("agent", "list").out)}
    assert agents[agent["id"][-8:]][1:7] == ["reviewer", "slave", "running", "adopted", "-", "host"]
    assert "managed" in [row[4] for row in agents.values()]
    panes = {row[0]: row for row in columns(desk.ok("pane", "list").out)}
    assert panes["ID"][-1] == "ORIGIN"
    assert panes[managed[-8:]][-1] == "managed"
    assert panes[agent["id"][-8:]] == [
        *(agent["id"][-8:], "reviewer", "slave", "running", "-", "-", pane, str(agent["pid"]), "adopted")
    ]
    assert [row["id"] for row in desk.json("pane", "list")["adopted"]] == [agent["id"]]
    found = {row["tmux_pane_id"]: row["adopted_as"] for row in desk.json("agent", "list", "--unmanaged")["items"]}
    assert found[pane] == "reviewer"


def test_an_adopted_agent_is_no_pane_to_remove(desk: Desk) -> None:
    pane = own_pane(desk, "kept")
    made = desk.json("agent", "adopt", "host", pane, "--label", "kept")
    for reference in (made["agent_id"], made["agent_id"][-8:], "kept"):
        done = desk.run("pane", "remove", reference)
        assert (done.code, done.err.partition(":")[0]) == (1, "managed_pane_protected_adopted"), reference
    assert desk.tmux("display-message", "-p", "-t", pane, "#{pane_dead}").strip() == "0"


def test_what_cannot_be_adopted(desk: Desk) -> None:
    done = desk.run("agent", "adopt", "host", "%98765", "--label", "nobody")
    assert (done.code, done.err.partition(":")[0]) == (1, "validation_failed")
    done = desk.run("agent", "adopt", "nowhere", "%1", "--label", "nobody")
    assert (done.code, done.err.partition(":")[0]) == (1, "container_not_found")


def test_an_agent_reports_its_session_from_inside_its_pane(desk: Desk) -> None:
    pane = desk.layout()["panes"][0]
    done = desk.run("agent", "report", "a-session", AGENTTOWER_PANE_ID=pane["pane_id"])
    assert done.out.endswith(" has session a-session\n"), done
    told = desk.json("agent", "report", "a-session", "--pane", pane["pane_id"])
    assert (told["agent_session"], told["replay"]) == ("a-session", True)
    (agent,) = [row for row in desk.json("agent", "list")["items"] if row["pane_id"] == pane["pane_id"]]
    assert agent["agent_session"] == "a-session"
    assert desk.run("agent", "report", "a-session").code == 2
