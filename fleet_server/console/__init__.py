"""The HTML door for people: pages, their words in two languages, their look."""
