"""The sections of the panel, in the order of the work."""

from FetusMapV2Panel.sections.estimate import EstimateSection
from FetusMapV2Panel.sections.examination import ExaminationSection
from FetusMapV2Panel.sections.head_abdomen import HeadAbdomenSection
from FetusMapV2Panel.sections.install import InstallSection
from FetusMapV2Panel.sections.landmarks import LandmarksSection
from FetusMapV2Panel.sections.measurements import MeasurementsSection
from FetusMapV2Panel.sections.movement import MovementSection
from FetusMapV2Panel.sections.nuchal import NuchalSection
from FetusMapV2Panel.sections.report import ReportSection
from FetusMapV2Panel.sections.result import ResultSection
from FetusMapV2Panel.sections.views import ViewsSection

#: To add one: write it, and name it here.
SECTIONS = (
    InstallSection,
    EstimateSection,
    ResultSection,
    MeasurementsSection,
    HeadAbdomenSection,
    NuchalSection,
    ViewsSection,
    LandmarksSection,
    MovementSection,
    ExaminationSection,
    ReportSection,
)
