"""The agents registry: `events`, `state`, `commands`, `decide`. Managed panes come from `domain.layouts`, adopted ones
are the operator's own."""
