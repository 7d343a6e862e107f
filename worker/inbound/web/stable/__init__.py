"""The stable link, `/s/ID`: its routes and their rules, its visitors and its pages."""
