from __future__ import annotations

from tests.support.hub import hub_template, lab, timed_lab

__all__ = ["hub_template", "lab", "timed_lab"]
