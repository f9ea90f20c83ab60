"""Which commit, or which version of a package, made the model slower, wrong, or impossible to compile?

The story is in `bisection`, top to bottom. `search` chooses what to run and how sure each run has to be, `trial` reads
what a run has shown, and `pytest_run` makes one. `commits` and `versions` are the two kinds of histories.
"""
