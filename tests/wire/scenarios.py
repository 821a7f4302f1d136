"""What clients do to the proxy: every method of 0.2.8, its successes and its errors.

Groups of named scenarios; each group is one file in golden/.
"""

from __future__ import annotations

from tests.wire.blob_scenarios import BLOBS, LIFECYCLE, STARTUP
from tests.wire.image_scenarios import IMAGES
from tests.wire.open_scenarios import INITIALIZE, OPEN, POLICIES
from tests.wire.registry_scenarios import REGISTRY
from tests.wire.request_scenarios import REQUESTS
from tests.wire.steps import Scenario

__all__ = ["GROUPS", "POLICIES"]

GROUPS: dict[str, dict[str, Scenario]] = {
    "requests": REQUESTS,
    "initialize": INITIALIZE,
    "open": OPEN,
    "images": IMAGES,
    "blobs": BLOBS,
    "lifecycle": LIFECYCLE,
    "startup": STARTUP,
    "registry": REGISTRY,
}
