"""The repository of software: TUF metadata signed offline, its freshness signed online, and the files themselves."""
