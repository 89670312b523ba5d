"""Stand-in for slicer.parameterNodeWrapper: int, float, bool, str, Enum and node members, stored as Slicer does."""

import enum
import typing

import slicer
import vtk

__all__ = ["Choice", "Default", "Maximum", "Minimum", "WithinRange", "parameterNodeWrapper"]
_PLAIN = (int, float, bool, str)


class WithinRange:
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum


class Minimum:
    def __init__(self, minimum):
        self.minimum = minimum


class Maximum:
    def __init__(self, maximum):
        self.maximum = maximum


class Choice:
    def __init__(self, choices):
        self.choices = choices


class Default:
    def __init__(self, value):
        self.value = value


class _Member:
    """One typed parameter: how it is checked, written to and read from the node."""

    def __init__(self, name, annotated, default):
        extras = typing.get_args(annotated)[1:] if typing.get_origin(annotated) is typing.Annotated else ()
        self.name = name
        self.type = typing.get_args(annotated)[0] if extras else annotated
        self.extras = extras
        self.is_node = isinstance(self.type, type) and issubclass(self.type, slicer.vtkMRMLNode)
        self.is_enum = isinstance(self.type, type) and issubclass(self.type, enum.Enum)
        if not (self.is_node or self.is_enum or self.type in _PLAIN):
            raise TypeError(f"{name}: {annotated} is not supported on the bench")
        self.default = self._first_default(default)

    def _first_default(self, given):
        if given is not None or self.is_node:
            return given
        for extra in self.extras:
            if isinstance(extra, Default):
                return extra.value
        return next(iter(self.type)) if self.is_enum else self.type()

    def check(self, value):
        if self.is_node and value is None:
            return
        if not isinstance(value, (int, float) if self.type is float else self.type):
            raise ValueError(f"{self.name} expects {self.type.__name__}, got {value!r}")
        for extra in self.extras:
            if isinstance(extra, Choice) and value not in extra.choices:
                raise ValueError(f"{self.name}={value!r} is not one of {extra.choices}")
            if value < getattr(extra, "minimum", value) or value > getattr(extra, "maximum", value):
                raise ValueError(f"{self.name}={value!r} is out of range")

    def write(self, node, value):
        self.check(value)
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        elif self.is_enum:
            node.SetParameter(self.name, value.name)
        else:
            node.SetParameter(self.name, str(value))

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.is_enum:
            return self.type[text]
        return text == "True" if self.type is bool else self.type(text)


def _connector(widget, member):
    """(signal, read, write) joining a widget to a member; unsupported pairs raise, as in Slicer."""
    kind = type(widget).__name__
    if kind == "qMRMLNodeComboBox" and member.is_node:
        return widget.currentNodeChanged, widget.currentNode, widget.setCurrentNode
    if kind == "QComboBox" and member.is_enum:
        return _enum_connector(widget, member)
    if kind == "QCheckBox" and member.type is bool:
        return widget.toggled, lambda: widget.checked, widget.setChecked
    if kind in ("QSpinBox", "QDoubleSpinBox") and member.type in (int, float):
        return widget.valueChanged, lambda: member.type(widget.value), widget.setValue
    if kind == "QLineEdit" and member.type is str:
        return widget.textChanged, lambda: widget.text, widget.setText
    raise RuntimeError(f"Unable to create GUI connector from datatype {member.type} to widget type {kind}")


def _enum_connector(widget, member):
    values = list(member.type)
    label = getattr(member.type, "label", lambda value: value.name)
    widget.clear()
    for value in values:
        widget.addItem(label(value))
    return (
        widget.currentIndexChanged,
        lambda: values[widget.currentIndex],
        lambda value: widget.setCurrentIndex(values.index(value)),
    )


class _GuiLink:
    """Keeps the widgets and the parameter node equal, in both directions."""

    def __init__(self, wrapper, members, ui):
        self._wrapper, self._busy, self._slots = wrapper, False, []
        widgets = {}
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName") if hasattr(widget, "property") else None
            if name:
                widgets[name] = widget
        unknown = set(widgets) - set(members)
        if unknown:
            raise ValueError(f"Cannot find a param with the given name: {sorted(unknown)}")
        self._pairs = [(members[name], *_connector(widget, members[name])) for name, widget in widgets.items()]
        self.update_gui()
        for member, signal, read, _write in self._pairs:
            slot = self._make_slot(member, read)
            signal.connect(slot)
            self._slots.append((signal, slot))
        self._tag = wrapper.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self.update_gui)

    def _make_slot(self, member, read):
        def changed(*_):
            if not self._busy:
                setattr(self._wrapper, member.name, read())

        return changed

    def update_gui(self, *_):
        if self._busy:
            return
        self._busy = True
        try:
            for member, _signal, _read, write in self._pairs:
                write(getattr(self._wrapper, member.name))
        finally:
            self._busy = False

    def release(self):
        for signal, slot in self._slots:
            signal.disconnect(slot)
        self._wrapper.parameterNode.RemoveObserver(self._tag)


def parameterNodeWrapper(cls=None):
    if cls is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(cls, include_extras=True)
    members = {name: _Member(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}
    for name, member in members.items():
        setattr(cls, name, _accessor(member))

    def initialise(self, parameterNode):
        self.parameterNode, self._links = parameterNode, {}
        for member in members.values():
            if not parameterNode.HasParameter(member.name):
                member.write(parameterNode, member.default)

    def connectGui(self, ui):
        tag = len(self._links)
        self._links[tag] = _GuiLink(self, members, ui)
        return tag

    def disconnectGui(self, tag):
        if tag in self._links:
            self._links.pop(tag).release()

    cls.__init__, cls.connectGui, cls.disconnectGui = initialise, connectGui, disconnectGui
    for method in ("AddObserver", "RemoveObserver", "StartModify", "EndModify", "Modified"):
        setattr(cls, method, _forward(method))
    return cls


def _accessor(member):
    return property(
        lambda self: member.read(self.parameterNode), lambda self, value: member.write(self.parameterNode, value)
    )


def _forward(method):
    return lambda self, *arguments: getattr(self.parameterNode, method)(*arguments)
