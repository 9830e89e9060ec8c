"""What a document can be checked for. One module per check, each with one function ``prepare``.

    prepare(check, profile, sources) -> run          once, before a worker set forks; ConfigError: it cannot be done
    run(document) -> findings                        for each document; Inconclusive: it could not be told

A check says what it found, never whether that is acceptable: that is the route's ``accept:`` (``hub.checking``).
"""
