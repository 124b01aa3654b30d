"""Labels from the data sets that people have: one module a family, one literal dict of formats."""
