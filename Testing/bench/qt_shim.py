"""The `qt` module of Slicer on PySide6: one flat namespace, Qt properties as attributes, string-based connect().

Differences from PythonQt that remain: enumerations are Python enums, and QtTest is added as `QTest`.
"""

from __future__ import annotations

import functools
import re
import sys
import xml.etree.ElementTree as ET

import PySide6
import shiboken6
from PySide6 import QtCore, QtGui, QtPrintSupport, QtUiTools, QtWidgets
from PySide6.QtTest import QTest

_THIS = sys.modules[__name__]
for _module in (QtCore, QtGui, QtWidgets, QtPrintSupport):
    for _name in dir(_module):
        if _name.startswith("Q"):
            setattr(_THIS, _name, getattr(_module, _name))

if sys.version_info < (3, 12) and PySide6.__version_info__[:2] == (6, 12):
    # It drops a reference to None, True or False with every call that returns one; they are immortal only from
    # Python 3.12 on, before that the interpreter aborts after some thousand calls.
    raise ImportError("PySide6 6.12 miscounts references on Python below 3.12: install 'PySide6-Essentials<6.12'")

QObject = QtCore.QObject
QWidget = QtWidgets.QWidget
_read, _write = QObject.property, QObject.setProperty
#: Virtual getters that Shiboken calls from C++: replacing them would recurse.
_VIRTUAL = {"sizeHint", "minimumSizeHint", "spacing", "horizontalSpacing", "verticalSpacing"}
#: Properties with the name of a static method, which PythonQt returns for that name.
_STATIC = {"singleShot"}

__all__ = ["CUSTOM_WIDGETS", "QTest", "QUiLoader", "application", "custom_widget"]


# --- Qt properties as attributes -----------------------------------------------------------------


def _property_for(cls: type, name: str, writable: bool) -> property:
    setter = getattr(cls, "set" + name[0].upper() + name[1:], None)

    def get(self):
        return _read(self, name)

    def put(self, value):
        if setter is not None:
            setter(self, value)
        elif not _write(self, name, value):
            raise AttributeError(f"{type(self).__name__}.{name}: cannot be set to {value!r}")

    return property(get, put if writable else None)


def _publish_properties(cls: type) -> None:
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name not in _VIRTUAL | _STATIC:
            setattr(cls, name, _property_for(cls, name, meta.property(index).isWritable()))


def _publish_all() -> set[type]:
    done: set[type] = set()
    for value in list(vars(_THIS).values()):
        if not (isinstance(value, type) and issubclass(value, QObject)):
            continue
        for cls in reversed(value.__mro__):
            if isinstance(cls, type) and issubclass(cls, QObject) and cls not in done:
                done.add(cls)
                _publish_properties(cls)
    return done


_PATCHED = _publish_all()
QObject.name = property(lambda self: _read(self, "objectName"), lambda self, value: self.setObjectName(value))
QObject.className = lambda self: self.metaObject().className()


# --- string-based connections; unknown signals and attributes raise --------------------------------


def _normalised(signature: str) -> str:
    return re.sub(r"\s|\bconst\b|&", "", signature)


def _signal(sender: QObject, signature: str):
    """The signal object named by a C++ signature, e.g. ``clicked(bool)``."""
    name = signature.split("(")[0].strip()
    signal = getattr(sender, name, None)
    declared = getattr(type(sender), "SIGNATURES", frozenset())
    known = _normalised(signature) in declared or sender.metaObject().indexOfSignal(_normalised(signature)) >= 0
    if signal is None or not hasattr(signal, "connect") or not known:
        raise ValueError(f"{sender.className()} has no signal {signature}")
    arguments = re.search(r"\((.*)\)", signature)
    if arguments and arguments.group(1) == "QString":
        try:
            return signal[str]
        except (KeyError, IndexError, TypeError):
            return signal
    return signal


#: Connected slots by the sender's address. PythonQt keeps them alive, bound methods with their objects, until they are
#: disconnected or the sender is destroyed.
_RECEIVERS: dict[int, list[tuple[str, object]]] = {}


def _connect(sender: QObject, signature: str, slot) -> bool:
    signal = _signal(sender, signature)
    address = shiboken6.getCppPointer(sender)[0]
    if address not in _RECEIVERS:
        _RECEIVERS[address] = []
        sender.destroyed.connect(lambda *_: _RECEIVERS.pop(address, None))
    _RECEIVERS[address].append((_normalised(signature), slot))
    return bool(signal.connect(slot))


def _disconnect(sender: QObject, signature: str, slot) -> bool:
    receivers = _RECEIVERS.get(shiboken6.getCppPointer(sender)[0], [])
    if (_normalised(signature), slot) in receivers:
        receivers.remove((_normalised(signature), slot))
    return bool(_signal(sender, signature).disconnect(slot))


def _get_attribute(self, name, _original=QObject.__getattribute__):
    # PySide6 resolves `connect` on instances itself, so the look-up is intercepted.
    if name == "connect":
        own = _original(self, name)  # what PySide6 itself calls, e.g. in QTimer.singleShot
        return lambda *given: _connect(self, *given) if len(given) == 2 else own(*given)
    if name == "disconnect":
        return functools.partial(_disconnect, self)
    return _original(self, name)


def _set_attribute(self, name, value, _original=shiboken6.Object.__setattr__):
    # PythonQt refuses new attributes on a plain Qt object; on Python subclasses they are allowed.
    if type(self).__module__.startswith("PySide6") and not hasattr(type(self), name):
        raise AttributeError(f"Property '{name}' does not exist on object of type {type(self).__name__}")
    if isinstance(getattr(type(self), name, None), QtCore.Property):
        self.setProperty(name, value)
    else:
        _original(self, name, value)


QObject.__getattribute__ = _get_attribute
_single_shot = QtCore.QTimer.singleShot
#: Keeps the slot alive, as PythonQt does; PySide6 drops a bound method whose object is gone.
QtCore.QTimer.singleShot = staticmethod(lambda milliseconds, slot: _single_shot(milliseconds, lambda: slot()))
for _class in _PATCHED:  # every PySide6 class carries a __setattr__ of its own
    _class.__setattr__ = _set_attribute


# --- .ui files -----------------------------------------------------------------------------------

#: Class name in a .ui file -> Python class; filled by the CTK and MRML stand-ins.
CUSTOM_WIDGETS: dict[str, type] = {}


def custom_widget(cls: type) -> type:
    """Class decorator: make `cls` available to .ui files under its own name."""
    CUSTOM_WIDGETS[cls.__name__] = cls
    return cls


#: Contents of .ui files in which every property was found.
_FLAWLESS: set[bytes] = set()


@functools.cache
def _parsed(content: bytes) -> tuple[ET.Element, bytes, list[tuple[str, str, str, str]]]:
    """A .ui file, and apart from it its connections with MRML arguments, which PySide6 cannot carry."""
    tree, taken = ET.fromstring(content), []
    for block in tree.iter("connections"):
        for connection in list(block):
            parts = tuple(connection.findtext(tag, "") for tag in ("sender", "signal", "receiver", "slot"))
            if "vtkMRML" in parts[1]:
                taken.append(parts)
                block.remove(connection)
    return tree, ET.tostring(tree), taken


class _UiLoader(QtUiTools.QUiLoader):
    """Loads a .ui file like Slicer's loader; unknown widgets, properties and connections raise."""

    def createWidget(self, class_name, parent=None, name=""):
        if class_name in CUSTOM_WIDGETS:
            widget = CUSTOM_WIDGETS[class_name](parent)
            widget.setObjectName(name)
            return widget
        if class_name not in self._known():
            self._problems.append(f"unknown widget class {class_name}")
        return super().createWidget(class_name, parent, name)

    @functools.cache  # noqa: B019  # there is one loader
    def _known(self):
        return frozenset(self.availableWidgets())

    def load(self, device, parent=None):
        self._problems: list[str] = []
        content = bytes(device.readAll().data())
        tree, rest, mrml = _parsed(content)
        buffer = QtCore.QBuffer()
        buffer.setData(rest)
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        root = super().load(buffer, parent)
        if root is None:
            return None
        if not self._problems and content not in _FLAWLESS:
            self._check_properties(tree, root)
        if self._problems:
            raise RuntimeError("; ".join(self._problems))
        _FLAWLESS.add(content)
        for sender, signal, receiver, slot in mrml:
            _signal(_child(root, sender), signal).connect(getattr(_child(root, receiver), slot.split("(")[0]))
        return root

    def _check_properties(self, tree, root) -> None:
        # Qt silently creates a dynamic property for an unknown name, so that a misspelt one would be lost
        for element in tree.iter("widget"):
            widget = _child(root, element.get("name", ""))
            for entry in element.findall("property"):
                name = entry.get("name", "")
                if name == "buddy":  # no property, but the widget that a label's key selects
                    _child(root, entry.findtext("cstring", ""))
                elif entry.get("stdset") != "0" and widget.metaObject().indexOfProperty(name) < 0:
                    self._problems.append(f"{element.get('class')} {element.get('name')}: unknown property {name}")


@functools.cache
def QUiLoader() -> _UiLoader:
    """The one loader of the process: each would load and release Qt's designer plugins."""
    return _UiLoader()


def _child(root, name: str):
    found = root if root.objectName == name else root.findChild(QObject, name)
    if found is None:
        raise RuntimeError(f"the .ui file names a widget {name!r} that does not exist")
    return found


QtCore.QFile.ReadOnly = QtCore.QIODevice.OpenModeFlag.ReadOnly


def application() -> QtWidgets.QApplication:
    """The one QApplication of the process."""
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication(sys.argv[:1])
