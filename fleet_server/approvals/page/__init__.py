"""The approval page: an origin and a process of its own, where approvers see what they sign and sign it in the browser.

What the console says there counts for nothing: no cookie reaches this origin, no page of another may frame it or post
to it, and its scripts run only with the hashes that its policy names.
"""
