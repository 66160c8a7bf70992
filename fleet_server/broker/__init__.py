"""The broker as something to be distrusted: are its rules on disk what was generated, and does it keep its promises."""
