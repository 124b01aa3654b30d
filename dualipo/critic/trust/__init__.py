"""Whether a critic may be trusted: self-checks, forced choice, calibration, hostile captions."""
