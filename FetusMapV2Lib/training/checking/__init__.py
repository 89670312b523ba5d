"""Checks of a folder of annotated cases before anything is trained on it: findings, and a page that shows them."""
