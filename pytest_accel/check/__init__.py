"""The story of one test, from the fixture to the verdict."""
