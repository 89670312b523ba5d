"""A mini-Slicer for tests: real MRML scene, logics, views and Qt widgets, without the Slicer application.

What Slicer adds in C++ or through PythonQt is replaced by small strict stand-ins: an unknown name raises, so that a
typing error in the module fails here as in Slicer.
"""
