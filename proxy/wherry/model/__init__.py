"""Values of the field, without I/O: digests, descriptors, media types, platforms, names, configs,
manifests."""
