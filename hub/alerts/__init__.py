"""Whether all is well, and who is told if not. Each thing that is wrong is told once, and once when it is over.

store, nodes, certificates ─▶ rules (pure) ─▶ alerts that stand ─▶ notices, one per channel ─▶ channels
"""
