"""The hub attacks itself, on a scratch store and on the user's own machine, and says what came of it.

ledgers.py   what senders were promised, what procedures were given: on disk before anybody answers
checker.py   ledgers and store held against each other; pure, and knows nothing of how the hub works
scratch.py   a deployment of its own, and its daemon in a process group of its own
crash.py     the proof: kills under load, at random and at named places
report.py    what an auditor keeps
"""
