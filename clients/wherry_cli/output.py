"""Results and progress as skopeo prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.protocol.messages import Step

STEP_LINES = {
    "signatures": "Getting image source signatures",
    "list-signatures": "Getting image list signatures",
    "check-signatures": "Checking if image destination supports signatures",
    "instances": "Copying {step.number} images generated from {step.of} images in list",
    "instance": "Copying image {step.digest} ({step.number}/{step.of})",
    "blob": "Copying blob {step.digest}",
    "config": "Copying config {step.digest}",
    "manifest": "Writing manifest to image destination",
    "list-manifest": "Writing manifest list to image destination",
    "store-signatures": "Storing signatures",
    "store-list-signatures": "Storing list signatures",
}
"""The line that tells each step of a copy (wherry.protocol.messages.STEPS)."""


def step_line(step: Step) -> str:
    """One line about a step, with its newline; "" for a step that a newer server tells of."""
    line = STEP_LINES.get(step.name)
    return line.format(step=step) + "\n" if line else ""
