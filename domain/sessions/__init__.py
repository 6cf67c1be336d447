"""Sessions: conversations with a runtime, spawned from bundles."""
