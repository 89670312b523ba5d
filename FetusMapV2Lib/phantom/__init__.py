"""Simulated volumes with their truth: an articulated fetus in a uterus, and the ultrasound image of it."""
