"""The text of an invitation: templates, their fallbacks, and their variables (docs/reference/templates.md)."""

from worker.domain.invitations.brand import Brand
from worker.domain.invitations.language import TemplateProblem
from worker.domain.invitations.render import Rendered, Templates
from worker.domain.invitations.segments import Encoding, Segments, segments
from worker.domain.invitations.values import Invitation

__all__ = ["Brand", "Encoding", "Invitation", "Rendered", "Segments", "TemplateProblem", "Templates", "segments"]
