from typing import TypeVar

_T = TypeVar("_T")

class WithinRange:
    def __init__(self, minimum: float, maximum: float) -> None: ...

def parameterNodeWrapper(cls: type[_T]) -> type[_T]: ...
