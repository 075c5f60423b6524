"""The state of a replicated object as bytes: for transfer, for undoing, and for comparing replicas.

Three ways.  The class has hooks, `snapshot(self) -> bytes` and `restore(self, data: bytes) -> None`; or it has those of
`model.replicated.Sliced`, for a state that is too large to be encoded in one go; or its state is its annotated
attributes, encoded by msgspec.  The state must be a tree (no object in two places), since that is what
a restored replica gets.

A snapshot keeps the order of dictionaries, because commands may depend on it.  A digest is taken of a canonical form
(`canonical`) with sets and dictionaries sorted, since a set may be iterated differently in every process and still be
equal.  A class with hooks can add `digest(self) -> bytes` if its snapshots are large or not canonical.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_origin, get_type_hints

import msgspec

from phalanx.errors import ConfigurationError
from phalanx.replication import canonical, contract
from phalanx.replication.outcome import text_of

T = TypeVar("T")

DIGEST_BYTES = 16

ENCODING = "the encoding of its fields"
"""What saves a class without hooks."""

SLICE_BYTES = 256 << 10
"""Of a state that is saved whole though its class has slices."""


class HookError(Exception):
    """What saves or digests a state raised: `__cause__` has what.  hook: the name of the class's method, or in words."""

    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__(f"{hook} raised {type(error).__name__}: {text_of(error)}")
        self.hook = hook
        self.error = error


class Digest(NamedTuple):
    """What a state amounts to, and how many bytes had to be encoded to find out."""

    value: bytes
    cost: int


class StateCodec(Generic[T]):
    """Makes, saves, restores and digests instances of one class.  `spelled` is the state's share of the contract."""

    def __init__(self, cls: type[T]) -> None:
        self._cls = cls
        self._hooked = _has_both(cls, "snapshot", "restore")
        self._sliced = _has_both(cls, "snapshot_slices", "restore_slice")
        self._own_digest: Callable[[T], bytes] | None = getattr(cls, "digest", None)
        self.saver = "snapshot()" if self._hooked else "snapshot_slices()" if self._sliced else ENCODING
        if self._hooked and self._sliced:
            raise ConfigurationError(f"{cls.__name__} has both snapshot() and snapshot_slices(): it needs one of them")
        if self._sliced and self._own_digest is None:
            raise ConfigurationError(f"{cls.__name__} has snapshot_slices(), so it needs a digest() that is cheap")
        self.digester = "digest()" if self._own_digest is not None else self.saver
        self._fields = () if self._hooked or self._sliced else _fields(cls)
        self._spellings = {name: contract.spell(kind, f"{cls.__name__}.{name}") for name, kind in self._fields}
        fields = ", ".join(f"{name}: {kind}" for name, kind in self._spellings.items())
        self.spelled = "hooks" if self._hooked else "slices" if self._sliced else fields
        self._struct = contract.struct(f"{cls.__name__}State", list(self._fields))
        self._decoder = msgspec.msgpack.Decoder(self._struct)
        self._encoder = msgspec.msgpack.Encoder()
        self._sorts = canonical.sorts(kind for _, kind in self._fields)

    def create(self) -> T:
        """A new instance: the state of a group at its founding.  It must be the same on every node."""
        try:
            return self._cls()
        except TypeError as error:
            name = self._cls.__name__
            raise ConfigurationError(f"{name} must be constructible without arguments: {error}") from error
        except Exception as wrong:
            text = f"{self._cls.__name__}() raised {type(wrong).__name__}: {text_of(wrong)}"
            raise ConfigurationError(text) from wrong

    def slices(self, instance: T, size: int) -> Generator[bytes | None, None, None]:
        """The state as it is when the first slice is taken: for a class with slices those, of about `size` bytes each,
        while commands go on (None: the next comes in another turn); for any other the whole state, in one.  Raises
        `HookError`."""
        if not self._sliced:
            yield self.snapshot(instance)
            return
        found: Iterator[bytes | None] | None = None
        count = 0
        try:
            found = iter(instance.snapshot_slices(size))  # type: ignore[attr-defined]  # it has the hook: see __init__
            for data in found:
                count += data is not None
                yield self._bytes(data) if data is not None else None
            if not count:
                raise ValueError("it must give at least one slice, of an empty state as well")
        except (Exception, SystemExit) as error:
            raise self._failed(self.saver, error) from error
        finally:
            if found is not None and hasattr(found, "close"):
                found.close()

    def restore_slice(self, instance: T, data: bytes) -> None:
        """Give a new instance the next of `slices`.  Raises `msgspec.DecodeError` if it is no such thing."""
        if self._sliced:
            instance.restore_slice(data)  # type: ignore[attr-defined]  # it has the hook: see __init__
        elif self._hooked:
            instance.restore(data)  # type: ignore[attr-defined]  # it has the hook: see __init__
        else:
            state = self._decoder.decode(data)
            for name, _ in self._fields:
                setattr(instance, name, getattr(state, name))

    def snapshot(self, instance: T) -> bytes:
        """The whole state.  Raises `HookError`."""
        try:
            if self._sliced:
                return self._encoder.encode([data for data in self.slices(instance, SLICE_BYTES) if data is not None])
            if self._hooked:
                return self._bytes(instance.snapshot())  # type: ignore[attr-defined]  # it has the hook: see __init__
            return self._encoder.encode(self._values(instance))
        except (Exception, SystemExit) as error:
            raise self._failed(self.saver, error) from error

    def restore(self, data: bytes) -> T:
        """A new instance with the state of a `snapshot`.  Raises `msgspec.DecodeError` if the bytes are no such state."""
        instance = self.create()
        for part in msgspec.msgpack.decode(data, type=list[bytes]) if self._sliced else (data,):
            self.restore_slice(instance, part)
        return instance

    def digest(self, instance: T) -> Digest:
        """A fingerprint of the state, equal for equal states.  Raises `HookError`."""
        try:
            return self._digest(instance)
        except (Exception, SystemExit) as error:
            raise self._failed(self.digester, error) from error

    def _digest(self, instance: T) -> Digest:
        if self._own_digest is not None:
            data = self._own_digest(instance)
            return Digest(hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest(), len(data))
        data = self.snapshot(instance) if self._hooked else canonical.encode(self._values(instance), self._sorts)
        return Digest(hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest(), len(data))

    def fault_in_taking(self, former: "StateCodec[Any]") -> str | None:
        """Why a state of that class cannot be taken over as it is; None: it can."""
        if self._hooked or self._sliced or former._hooked or former._sliced:
            same = (self._hooked, self._sliced) == (former._hooked, former._sliced)
            if same and issubclass(self._cls, former._cls):
                return None
            return "a state that is saved by hooks is taken over as it is by a subclass only"
        for name, kind in former._spellings.items():
            if self._spellings.get(name) != kind:
                return f"its attribute {name!r} is {'of another type' if name in self._spellings else 'gone'}"
        return None

    def take_over(self, former: "StateCodec[Any]", instance: Any) -> T:
        """A new instance with the state of one of that class, which is not to be used any more."""
        if self._hooked or self._sliced:
            return self.restore(former.snapshot(instance))
        new = self.create()
        for name, _ in former._fields:
            setattr(new, name, getattr(instance, name))
        return new

    def prove(self) -> None:
        """Try the class on its initial state.  Raises `ConfigurationError` if saving and restoring loses anything."""
        name = self._cls.__name__
        instance = self.create()
        if not (self._hooked or self._sliced):
            known = {field for field, _ in self._fields}
            for attribute in getattr(instance, "__dict__", {}):
                if attribute not in known:
                    raise ConfigurationError(
                        f"{name}.{attribute} has no annotation in the class, so it would not be part of the state"
                    )
        try:
            twin = self.restore(self.snapshot(instance))
            same = self.digest(twin).value == self.digest(instance).value
        except Exception as error:
            raise ConfigurationError(
                f"{name}: the initial state cannot be saved and restored: {_shown(error)}"
            ) from error
        if not same:
            raise ConfigurationError(f"{name}: the initial state changes when it is saved and restored")

    def _bytes(self, data: object) -> bytes:
        if not isinstance(data, bytes):
            raise TypeError(f"it must give bytes, not {type(data).__name__}")
        return data

    @staticmethod
    def _failed(hook: str, error: BaseException) -> BaseException:
        """What to raise for it: if there is no memory, it is this process that failed, and not the hook."""
        return error if isinstance(error, HookError | MemoryError) else HookError(hook, error)

    def _values(self, instance: T) -> msgspec.Struct:
        return self._struct(*[getattr(instance, name) for name, _ in self._fields])


def _shown(error: Exception) -> str:
    return str(error) if isinstance(error, HookError) else repr(error)


def _has_both(cls: type, save: str, restore: str) -> bool:
    hooks = [hook for hook in (save, restore) if callable(getattr(cls, hook, None))]
    if len(hooks) == 1:
        raise ConfigurationError(f"{cls.__name__} has {hooks[0]}() but not its counterpart")
    return bool(hooks)


def _fields(cls: type) -> tuple[tuple[str, Any], ...]:
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:  # an annotation in quotes is any expression
        raise ConfigurationError(f"{cls.__name__}: an annotation cannot be resolved: {error}") from error
    return tuple((name, kind) for name, kind in hints.items() if ClassVar not in (kind, get_origin(kind)))
