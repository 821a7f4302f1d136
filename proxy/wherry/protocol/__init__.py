"""The contract between wherry and its clients: messages, framing, session state and fd passing.

Imports msgspec, the standard library, wherry.model and wherry.errors only. protocol.md is its prose; its
tables are generated from here (describe.py).
"""
