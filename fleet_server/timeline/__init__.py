"""Everything that happened, as rows with one ascending id: the timeline of a device and the source of event streams."""
