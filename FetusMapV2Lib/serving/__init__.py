"""The page in a browser, `fetusmap serve`: views, estimate, corrections and files of a case, by trame.

Each tab of a browser has a process of its own, so that nothing of two patients is ever in one place.
"""
