"""Stand-ins for the devices on a terminal's or gateway's lines, one per driver family, true byte for byte."""
