"""A mini-Slicer for tests: real MRML scene, logics, views and Qt widgets, without the Slicer application.

What Slicer itself adds in C++ or through PythonQt is replaced by small strict stand-ins: a name that they do not
know raises, so that a typing error in the module fails here as it would in Slicer.
"""
