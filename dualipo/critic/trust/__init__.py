"""The checks of whether a critic may be trusted: numbers, forced choice, calibration, captions."""
