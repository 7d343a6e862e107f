"""The pages, actions and files of uploaded lists: what the dashboard gets."""

from worker.features.dashboard.contract import Part
from worker.features.uploads.pages import lists

PART = Part(
    package="worker.features.uploads",
    pages=(lists.ALL, lists.ONE, lists.READ),
    actions=lists.ACTIONS,
    downloads=(lists.DOWNLOAD,),
    arrivals=(lists.ARRIVAL,),
)
