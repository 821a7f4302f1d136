"""The registry client: sans-IO parts by tables, the rest against real and hostile servers on loopback."""
