"""Generates `schemas/`: JSON Schema of every command, event and outcome, the AsyncAPI and the OpenAPI document.

Everything is derived from the registered types, the subjects and the routes; nothing is written here twice.
"""
