# Nothing to do: the macros come with SlicerConfig.cmake.
