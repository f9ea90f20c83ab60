"""What lies here are packages of their own; tests/plugin/test_example_package.py installs them and runs their tests."""

collect_ignore_glob = ["*"]
