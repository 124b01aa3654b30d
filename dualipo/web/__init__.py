"""The web pages of layer 4: labelling, organiser, dashboard. Nothing here imports torch."""
