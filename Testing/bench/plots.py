"""Stand-in for Slicer's plot view: draws a plot chart node with the same VTK charts that qMRMLPlotView draws with."""

from __future__ import annotations

import vtk
from vtk.util.numpy_support import vtk_to_numpy


def draw_chart(chart, size=(900, 520)):
    """The picture of a vtkMRMLPlotChartNode, (height, width, 3) uint8, first row on top."""
    view = vtk.vtkContextView()
    window = view.GetRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(*size)
    view.GetRenderer().SetBackground(1.0, 1.0, 1.0)
    xy = vtk.vtkChartXY()
    view.GetScene().AddItem(xy)
    for number in range(chart.GetNumberOfPlotSeriesNodes()):
        _add_plot(xy, chart.GetNthPlotSeriesNode(number))
    xy.SetTitle(chart.GetTitle())
    xy.SetShowLegend(chart.GetLegendVisibility())
    xy.GetAxis(vtk.vtkAxis.BOTTOM).SetTitle(chart.GetXAxisTitle())
    xy.GetAxis(vtk.vtkAxis.LEFT).SetTitle(chart.GetYAxisTitle())
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.Update()
    output = grabber.GetOutput()
    width, height, _ = output.GetDimensions()
    return vtk_to_numpy(output.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]


def _add_plot(xy, series):
    assert series.GetPlotType() == series.PlotTypeScatter, "other plots are not drawn here"
    plot = vtk.vtkPlotLine()
    table = series.GetTableNode().GetTable()
    plot.SetInputData(table, series.GetXColumnName(), series.GetYColumnName())
    red, green, blue = series.GetColor()
    plot.SetColorF(red, green, blue)
    plot.GetPen().SetLineType(series.GetLineStyle())
    plot.SetWidth(series.GetLineWidth())
    plot.SetMarkerStyle(series.GetMarkerStyle())
    plot.SetMarkerSize(series.GetMarkerSize())
    plot.SetLabel(series.GetName())
    xy.AddPlot(plot)
