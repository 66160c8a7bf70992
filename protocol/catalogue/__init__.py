"""What is known about terminals before any of them says a word: metrics, error codes, causes of faults.

Each part is a module of its own (`codes`, `metrics`, `faults`) and loads its JSON on first use, only the files in use.
Importing the package loads nothing. YAML is the source (`sources/`); JSON is generated beside it (`data/`).
"""
