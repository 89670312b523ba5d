"""Distortions: what a scanner, its operator and its export may do to a picture, drawn at random for every sample."""
