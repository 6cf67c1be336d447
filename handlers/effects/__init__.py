"""Effects (process managers): they turn events into actions outside and send what happened back as commands."""
