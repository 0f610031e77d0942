"""An AWS account on loopback: ECR, and what events, functions, queues, topics and tables need. See ``tests/emulator/README.md``."""
