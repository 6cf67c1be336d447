"""What makes background sessions run: files, webhooks, issues, and types of other packages. `kinds.py` finds them."""
