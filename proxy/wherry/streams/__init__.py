"""The data plane: moves payload between file descriptors, in threads, hashed where it must be.

Also what archives need: our own tar reader and writer, expansion of compressed archives, spool files.
"""
