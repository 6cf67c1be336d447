"""NATS: the embedded broker, the event log, both command doors, outcomes, timers, and the client of the doors."""
