"""Reading a stranger's pickle without running it: the few opcodes that lists of images need.

A pickle is a program. Python's unpickler runs it, and with REDUCE, BUILD, INST, OBJ, NEWOBJ or the
extension registry that program can call anything. Here nothing is imported and nothing is called:
an interpreter of our own knows the opcodes of lists, tuples, numbers, text, bytes and memo, and of
REDUCE and BUILD exactly the forms in which Python and numpy write bytes and uint8 or bool arrays
(`RECIPES`). All else is refused by its name when it is met.

Bytes are not copied: a `Blob` says where in the file they are. Sizes are checked against the file
before anything is read, the number of opcodes is bounded, and nothing here recurses, so neither a
length of 2^63, nor a bomb of references, nor a million nested tuples costs more than a message.

The opcodes are those of Python's `pickletools`, the forms of numpy those of numpy's
`ndarray.__reduce__`, `dtype.__reduce__` and `multiarray.scalar`.
"""

from frcore.data.verification.pickles.reader import PickleReader
from frcore.data.verification.pickles.values import Array, Blob, Buffer, Fault, RefusedPickleError

__all__ = ["Array", "Blob", "Buffer", "Fault", "PickleReader", "RefusedPickleError"]
