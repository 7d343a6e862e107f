"""The stable link, `/s/ID`: its route, its visitors and its pages."""
