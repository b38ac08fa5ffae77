"""What a pickle's values would weigh if nothing in them were shared.

A pickle names a value again in two bytes. A tuple of the same tuple twice, sixty times over, is 200 bytes, and its hash
(or its text, or a walk through it) takes 2^60 steps. Whoever loads a pickle works out the hash of each key on the way.
So the words are followed here with weights in the place of values.
"""

import pickletools
from collections.abc import Sequence
from typing import Any

_MOST_WEIGHT = 10_000_000  # of a tuple or a list: itself and all within it, each as often as it stands there
_MOST_HASHED = 50_000_000  # of all keys and members of sets together
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET", "LIST"})
_FILLS = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_MOST_DEEP = 1000  # values within values, as Python's own pickler: libraries take them apart by calling themselves
#: A weight and a depth that can grow, as what they stand for can; None: a mark on the stack.
_Weight = list[int]


class Weights:
    """The stack and the memo of a pickle, with weights in them."""

    def __init__(self) -> None:
        self._stack: list[_Weight | None] = []
        self._memo: dict[Any, _Weight] = {}
        self._hashed = 0

    def step(self, word: Any, argument: Any) -> None:
        """Follow one word of `pickletools.genops`.

        Raises:
            ValueError: a value weighs more than that of any checkpoint.
            IndexError: the pickle takes from an empty stack.
        """
        name = word.name
        if name in _GETS:
            self._stack.append(self._memo.get(argument, [1, 1]))
        elif name in _PUTS or name == "MEMOIZE":
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self._stack[-1] or [1, 1]
        elif name == "DUP":
            self._stack.append(self._stack[-1])
        elif name == "MARK":
            self._stack.append(None)
        else:
            popped = self._popped(word.stack_before)
            if name in _FILLS:
                self._stack.append(self._filled(name, popped[0], popped[1:]))
            elif name in _TUPLES:
                self._stack.append(self._made(popped))
            elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):  # it may be a tuple or a set of what it is given
                self._hash(popped[1:])
                self._stack.append(self._made(popped[1:]))
            else:
                self._stack.extend([1, 1] for _ in word.stack_after)

    def _popped(self, before: Sequence[Any]) -> list[_Weight]:
        taken: list[_Weight] = []
        single = len(before)
        if pickletools.markobject in before:
            while (weight := self._stack.pop()) is not None:
                taken.append(weight)
            single = before.index(pickletools.markobject)
        for _ in range(single):
            taken.append(self._stack.pop() or [1, 1])
        return taken[::-1]

    def _made(self, parts: list[_Weight]) -> _Weight:
        weight = 1 + sum(part[0] for part in parts)
        if weight > _MOST_WEIGHT:
            raise ValueError("its values hold each other too often")
        return [weight, self._deeper(parts)]

    def _deeper(self, parts: list[_Weight]) -> int:
        depth = 1 + max((part[1] for part in parts), default=0)
        if depth > _MOST_DEEP:
            raise ValueError("its values are nested too deeply")
        return depth

    def _filled(self, name: str, whole: _Weight, parts: list[_Weight]) -> _Weight:
        """A container with more in it: of a dictionary the keys count, of a list all, of an object nothing."""
        counted = parts if name in ("APPEND", "APPENDS", "ADDITEMS") else parts[::2] if name != "BUILD" else []
        if name not in ("APPEND", "APPENDS"):
            self._hash(counted)
        whole[0] += self._made(counted)[0] - 1
        self._made([whole])
        whole[1] = max(whole[1], self._deeper(parts))
        return whole

    def _hash(self, parts: list[_Weight]) -> None:
        self._hashed += sum(part[0] for part in parts)
        if self._hashed > _MOST_HASHED:
            raise ValueError("its keys hold each other too often")
