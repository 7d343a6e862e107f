"""The words of an invitation: templates, their fallbacks, and what may stand in them (docs/templates.md)."""

from worker.invitations.language import TemplateProblem
from worker.invitations.render import Rendered, Templates
from worker.invitations.segments import Encoding, Segments, segments
from worker.invitations.values import Invitation

__all__ = ["Encoding", "Invitation", "Rendered", "Segments", "TemplateProblem", "Templates", "segments"]
