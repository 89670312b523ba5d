"""Observers with one owner: added once, removed together."""

from __future__ import annotations

import vtk

from FetusMapV2Lib.scene.observations import Observations

MODIFIED = vtk.vtkCommand.ModifiedEvent


class Counter:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.calls = 0

    def count(self, caller: vtk.vtkObject, event: str) -> None:
        self.calls += 1


def test_a_callback_is_added_to_an_event_only_once():
    subject, counter, observations = vtk.vtkObject(), Counter(), Observations()
    observations.observe(subject, MODIFIED, counter.count)
    observations.observe(subject, (MODIFIED, vtk.vtkCommand.UserEvent), counter.count)
    subject.Modified()
    assert counter.calls == 1 and len(observations) == 2
    subject.InvokeEvent(vtk.vtkCommand.UserEvent)
    assert counter.calls == 2


def test_different_callbacks_observe_the_same_event():
    subject, first, second, observations = vtk.vtkObject(), Counter(), Counter(), Observations()
    observations.observe(subject, MODIFIED, first.count)
    observations.observe(subject, MODIFIED, second.count)
    subject.Modified()
    assert (first.calls, second.calls) == (1, 1)


def test_the_observers_of_one_object_are_removed():
    kept, stopped, counter, observations = vtk.vtkObject(), vtk.vtkObject(), Counter(), Observations()
    for subject in (kept, stopped):
        observations.observe(subject, MODIFIED, counter.count)
    assert observations.subjects() == [kept, stopped]
    observations.stop(stopped)
    observations.stop(stopped)
    stopped.Modified()
    assert counter.calls == 0 and observations.subjects() == [kept]


def test_all_observers_are_removed_and_may_be_added_again():
    subject, counter, observations = vtk.vtkObject(), Counter(), Observations()
    observations.observe(subject, MODIFIED, counter.count)
    observations.clear()
    subject.Modified()
    assert counter.calls == 0 and len(observations) == 0 and not subject.HasObserver(MODIFIED)
    observations.observe(subject, MODIFIED, counter.count)
    subject.Modified()
    assert counter.calls == 1
