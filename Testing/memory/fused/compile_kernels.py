"""Compiles every fused kernel for a GPU that need not be there, down to machine code; prints one line for each.

    python Testing/memory/fused/compile_kernels.py [fp32] [bf16] [compute capability [voxels and channels of a tile]]

Triton's interpreter says what a kernel computes; this says that its compiler takes it, and how it reads memory.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import FetusMapV2Lib.memory.fused.kernels  # noqa: F401

if "triton" in sys.modules:
    sys.exit("the executor's operations import Triton before it is needed")

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as to_machine_code

from FetusMapV2Lib.memory.fused import triton_pointwise, triton_sampling

TENSORS = {"z", "out", "gradient", "coarse", "fine"}
CONSTANTS = {"UNIT": 8, "NORM": True, "ACTIVATION": True, "ADD": True, "WRITE": True}
POINTERS = {"a", "b", "mean", "inverse", "plain", "with_z", "sums", "means", "squares", "counts", "variance"}
NUMBERS = {"slope": "fp32", "count": "fp32", "z_sample": "i64", "out_sample": "i64", "g_sample": "i64"}


def kernels() -> Iterator[tuple[str, Any]]:
    """What launchers call; helpers begin with an underscore."""
    for module in (triton_pointwise, triton_sampling):
        for name, value in vars(module).items():
            if hasattr(value, "arg_names") and not name.startswith("_"):
                yield name, value


def signature(names: list[str], element: str) -> dict[str, str]:
    found = {}
    for name in names:
        if name.isupper():
            found[name] = "constexpr"
        elif name in TENSORS:
            found[name] = "*" + element
        else:
            found[name] = "*fp32" if name in POINTERS else NUMBERS.get(name, "i32")
    return found


def main(elements: list[str], capability: int, voxels: int, channels: int) -> int:
    """1 if a kernel reads its tensors number by number."""
    for element in elements:
        for name, kernel in kernels():
            names = kernel.arg_names
            constants = {**CONSTANTS, "BLOCK_V": voxels, "BLOCK_C": channels, "BLOCK_P": 16}
            constants = {each: value for each, value in constants.items() if each in names}
            types = signature(names, element)
            aligned = [i for i, each in enumerate(names) if types[each].startswith("*") or each.endswith("_sample")]
            source = ASTSource(kernel, types, constants, {(i,): [["tt.divisibility", 16]] for i in aligned})
            made = to_machine_code(
                source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1 if channels < 64 else 4}
            )
            wide = len(re.findall(r"(?:ld|st)\.global\S*\.v[48]", made.asm["ptx"]))
            print(f"{name} {element}: {len(made.asm['cubin'])} bytes, {wide} vector accesses")
            if not wide:
                return 1
    return 0


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:] if each.isdigit()]
    types = [each for each in sys.argv[1:] if not each.isdigit()]
    sys.exit(main(types or ["fp32", "bf16"], *numbers, *[90, 64, 64][len(numbers) :]))
