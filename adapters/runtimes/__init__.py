"""What sessions run on: the `Runtime` port as a program, as Python code, as a pane, as an echo."""
