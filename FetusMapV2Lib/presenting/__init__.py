"""What a user interface shows of a pose, an estimate and a movement, as rows and texts, without Qt.

Texts are in the user's language where the interface has set one with `translation.use_translations`.
"""
