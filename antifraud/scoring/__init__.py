"""Scoring: the model bundle, prediction, calibration, certified thresholds, training. No I/O but the bundle's files."""

from __future__ import annotations

from antifraud.scoring.certificate import Certificate, ClassCertificate
from antifraud.scoring.manifest import ClassThresholds, Manifest, Thresholds, read_manifest, write_manifest
from antifraud.scoring.model import Model

__all__ = [
    "Certificate",
    "ClassCertificate",
    "ClassThresholds",
    "Manifest",
    "Model",
    "Thresholds",
    "read_manifest",
    "write_manifest",
]
