"""wherry: a container image proxy. This package imports nothing, so that naming it costs nothing."""

__version__ = "0.1.0"
