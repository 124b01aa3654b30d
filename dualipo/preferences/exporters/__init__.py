"""Labels for other people's programs: one function a format, one literal dict of them."""
