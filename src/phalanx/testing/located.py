"""Classes as other processes find them."""

import importlib
import sys
from importlib import util
from typing import Any

import msgspec

from phalanx.errors import ConfigurationError


class Located(msgspec.Struct, frozen=True):
    """A class that another process is to import: by its module, or, if that cannot be imported there, by its file."""

    module: str
    file: str | None
    name: str

    @staticmethod
    def of(cls: type) -> "Located":
        """Raises `ConfigurationError` if no other process can find the class."""
        if "<locals>" in cls.__qualname__:
            raise ConfigurationError(
                f"{cls.__qualname__} is defined inside a function: other processes cannot import it"
            )
        return Located(cls.__module__, getattr(sys.modules[cls.__module__], "__file__", None), cls.__qualname__)

    def load(self) -> Any:
        """The class.  Raises whatever its module raises, and `ConfigurationError` if it is not found."""
        found = self._module()
        for name in self.name.split("."):
            found = getattr(found, name)
        return found

    def _module(self) -> Any:
        if self.module != "__main__":
            try:
                return importlib.import_module(self.module)
            except ImportError:
                pass
        if self.file is None:
            raise ConfigurationError(f"{self.module} has no file")
        name = "__phalanx_main__" if self.module == "__main__" else self.module
        spec = util.spec_from_file_location(name, self.file)
        if spec is None or spec.loader is None:
            raise ConfigurationError(f"{self.file} cannot be imported")
        module = sys.modules[name] = util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
