"""What outlives a run: artefacts, baselines and what a run that broke off had finished."""
